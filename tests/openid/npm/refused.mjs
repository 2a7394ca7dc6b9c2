// What we do not speak: hybrid, implicit and CIBA are refused to a client that insists (openid.md §8).

import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'
import { REDIRECT, SCOPE, metadata, refusal, run, told } from './combination.mjs'
import { Person } from './person.mjs'

const HYBRID = 'code id_token'

await run(async () => {
  const keys = await oauth.generateKeyPair('ES256', { extractable: true })
  const jwk = { ...(await crypto.subtle.exportKey('jwk', keys.publicKey)), kid: 'cle-1', use: 'sig' }
  const auth = client.PrivateKeyJwt({ key: keys.privateKey, kid: 'cle-1' })
  const register = (more) =>
    client.dynamicClientRegistration(new URL(told.issuer), metadata([jwk], more), auth, { initialAccessToken: told.invitation })

  const config = await register({})
  const as = config.serverMetadata()
  const ask = (response_type) => ({
    redirect_uri: REDIRECT, scope: SCOPE, response_type, nonce: client.randomNonce(), state: client.randomState(),
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256',
  })
  const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'))
  const pushed = (response_type) => refusal(() => client.buildAuthorizationUrlWithPAR(config, ask(response_type), { DPoP }))

  // openid-client itself asks for what the application wants: a browser sent there comes back with a refusal.
  const open = await client.dynamicClientRegistration(
    new URL(told.issuer), metadata([jwk], { token_endpoint_auth_method: 'none', jwks: undefined, require_pushed_authorization_requests: false }), client.None(),
    { initialAccessToken: told.invitation })
  client.useCodeIdTokenResponseType(open)
  const address = client.buildAuthorizationUrl(open, ask(HYBRID))
  const returned = await new Person(told).walk(address.href, REDIRECT)

  const { client_id } = config.clientMetadata()
  const form = { grant_type: 'urn:openid:params:grant-type:ciba', auth_req_id: 'urn:example:auth' }
  return {
    advertised: { response_types: as.response_types_supported, ciba: as.backchannel_authentication_endpoint ?? null,
                  grants: as.grant_types_supported },
    registration: {
      hybrid: await refusal(() => register({ response_types: [HYBRID], grant_types: ['authorization_code', 'implicit'] })),
      implicit: await refusal(() => register({ response_types: ['id_token'], grant_types: ['implicit'] })),
      ciba: await refusal(() => register({ grant_types: ['urn:openid:params:grant-type:ciba'], response_types: [] })),
    },
    pushed: { hybrid: await pushed(HYBRID), implicit: await pushed('id_token'), token: await pushed('token') },
    redirected: Object.fromEntries([...returned.searchParams, ...new URLSearchParams(returned.hash.slice(1))]),
    ciba: {
      library: await refusal(() => client.initiateBackchannelAuthentication(config, { scope: 'openid', login_hint: told.email })),
      grant: await refusal(() => client.genericGrantRequest(config, form.grant_type, { auth_req_id: form.auth_req_id }, { DPoP })),
    },
    client_id,
  }
})
