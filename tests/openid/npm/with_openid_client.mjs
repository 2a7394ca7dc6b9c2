// One client's whole life by openid-client, every check of it on, non-repudiation included.

import * as client from 'openid-client'
import { GOODBYE, REDIRECT, SCOPE, counting, isPublic, metadata, refusal, run, told } from './combination.mjs'
import { Person } from './person.mjs'
import { generateKeyPair } from 'oauth4webapi'

const [passing, counted] = counting()

function credentials(signing) {
  if (told.method === 'none') return client.None()
  if (told.method === 'client_secret_basic') return client.ClientSecretBasic()
  if (told.method === 'client_secret_post') return client.ClientSecretPost()
  return client.PrivateKeyJwt(signing)
}

await run(async () => {
  const keys = await generateKeyPair(told.algorithm, { extractable: true })
  const jwk = { ...(await crypto.subtle.exportKey('jwk', keys.publicKey)), kid: 'cle-1', use: 'sig' }
  const signing = { key: keys.privateKey, kid: 'cle-1' }
  const config = await client.dynamicClientRegistration(
    new URL(told.issuer), metadata([jwk]), credentials(signing),
    { initialAccessToken: told.invitation, [client.customFetch]: passing })
  client.enableNonRepudiationChecks(config)
  const DPoP = told.dpop ? client.getDPoPHandle(config, await client.randomDPoPKeyPair(told.proof)) : undefined
  const options = { DPoP }

  const verifier = client.randomPKCECodeVerifier()
  const nonce = client.randomNonce()
  const state = client.randomState()
  const parameters = {
    redirect_uri: REDIRECT, scope: SCOPE, state, nonce,
    code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  }
  let address
  if (told.jar) {
    address = await client.buildAuthorizationUrlWithJAR(config, parameters, signing)
    if (told.par) address = await client.buildAuthorizationUrlWithPAR(config, address.searchParams, options)
  } else if (told.par) {
    address = await client.buildAuthorizationUrlWithPAR(config, parameters, options)
  } else {
    address = client.buildAuthorizationUrl(config, parameters)
  }

  const person = new Person(told)
  const returned = await person.walk(address.href, REDIRECT)
  const tokens = await client.authorizationCodeGrant(
    config, returned,
    { pkceCodeVerifier: verifier, expectedNonce: nonce, expectedState: state, idTokenExpected: true },
    undefined, options)
  const claims = tokens.claims()

  const userinfo = (token) => client.fetchUserInfo(config, token, claims.sub, options)
  const refresh = (token) => client.refreshTokenGrant(config, token, undefined, options)
  const introspect = (token) => client.tokenIntrospection(config, token)

  const about = await userinfo(tokens.access_token)
  const seen = isPublic ? null : await introspect(tokens.access_token)
  const renewed = await refresh(tokens.refresh_token)
  const aboutAgain = await userinfo(renewed.access_token)
  await client.tokenRevocation(config, renewed.refresh_token ?? tokens.refresh_token)

  const leaving = client.buildEndSessionUrl(config, {
    id_token_hint: tokens.id_token, post_logout_redirect_uri: GOODBYE, state,
  })
  return {
    registered: config.clientMetadata(), token_type: tokens.token_type, claims, about, introspected: seen,
    pages: person.seen, asked_for_a_nonce: counted.nonces,
    rotated: renewed.refresh_token !== undefined && renewed.refresh_token !== tokens.refresh_token,
    same_person: aboutAgain.sub === claims.sub,
    after_revocation: {
      userinfo: await refusal(() => userinfo(renewed.access_token)),
      refresh: await refusal(() => refresh(renewed.refresh_token ?? tokens.refresh_token)),
      active: isPublic ? false : (await introspect(renewed.access_token)).active,
    },
    left_to: (await person.walk(leaving.href, GOODBYE)).href,
    state,
  }
})
