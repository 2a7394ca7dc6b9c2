// A client in its own name: client credentials by both libraries, then introspection and revocation.

import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'
import { counting, metadata, run, told } from './combination.mjs'

const [passing, counted] = counting()

await run(async () => {
  const keys = await oauth.generateKeyPair(told.algorithm, { extractable: true })
  const jwk = { ...(await crypto.subtle.exportKey('jwk', keys.publicKey)), kid: 'cle-1', use: 'sig' }
  const method = told.method === 'private_key_jwt'
    ? client.PrivateKeyJwt({ key: keys.privateKey, kid: 'cle-1' })
    : client.ClientSecretBasic()
  const asked = metadata([jwk], { grant_types: ['client_credentials'], response_types: [], redirect_uris: [], post_logout_redirect_uris: [] })
  delete asked.scope
  const config = await client.dynamicClientRegistration(
    new URL(told.issuer), asked, method, { initialAccessToken: told.invitation, [client.customFetch]: passing })
  client.enableNonRepudiationChecks(config)
  const pair = await client.randomDPoPKeyPair('ES256')
  const DPoP = told.dpop ? client.getDPoPHandle(config, pair) : undefined
  const tokens = await client.clientCredentialsGrant(config, undefined, { DPoP })
  const seen = await client.tokenIntrospection(config, tokens.access_token)

  // The same client by the other library.
  const as = config.serverMetadata()
  const me = config.clientMetadata()
  const auth = told.method === 'private_key_jwt'
    ? oauth.PrivateKeyJwt({ key: keys.privateKey, kid: 'cle-1' })
    : oauth.ClientSecretBasic(me.client_secret)
  const handle = told.dpop ? oauth.DPoP(me, pair) : undefined
  const ask = async () =>
    oauth.processClientCredentialsResponse(
      as, me, await oauth.clientCredentialsGrantRequest(as, me, auth, {}, { DPoP: handle, [oauth.customFetch]: passing }))
  let again
  try {
    again = await ask()
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    again = await ask()
  }

  await client.tokenRevocation(config, tokens.access_token)
  return {
    client_id: me.client_id, token_type: tokens.token_type, introspected: seen, asked_for_a_nonce: counted.nonces,
    has_refresh_token: tokens.refresh_token !== undefined,
    other_token_type: again.token_type,
    active_after_revocation: (await client.tokenIntrospection(config, tokens.access_token)).active,
  }
})
