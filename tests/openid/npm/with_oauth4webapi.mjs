// One client's whole life by oauth4webapi, every check of it on.

import * as oauth from 'oauth4webapi'
import { GOODBYE, REDIRECT, SCOPE, counting, isPublic, metadata, refusal, run, told } from './combination.mjs'
import { Person } from './person.mjs'

const issuer = new URL(told.issuer)
const [passing, counted] = counting()
const through = { [oauth.customFetch]: passing }

// Ask again with the nonce, once, when the server wants one (RFC 9449 §8).
async function withNonce(ask) {
  try {
    return await ask()
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return ask()
  }
}

async function register(as, keys) {
  const jwk = { ...(await crypto.subtle.exportKey('jwk', keys.publicKey)), kid: 'cle-1', use: 'sig' }
  const answer = await oauth.dynamicClientRegistrationRequest(as, metadata([jwk]), {
    initialAccessToken: told.invitation,
    ...through,
  })
  return oauth.processDynamicClientRegistrationResponse(answer)
}

function credentials(client, signing) {
  if (told.method === 'none') return oauth.None()
  if (told.method === 'client_secret_basic') return oauth.ClientSecretBasic(client.client_secret)
  if (told.method === 'client_secret_post') return oauth.ClientSecretPost(client.client_secret)
  return oauth.PrivateKeyJwt(signing)
}

await run(async () => {
  const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, through))
  const keys = await oauth.generateKeyPair(told.algorithm, { extractable: true })
  const signing = { key: keys.privateKey, kid: 'cle-1' }
  const client = await register(as, keys)
  const auth = credentials(client, signing)
  const DPoP = told.dpop ? oauth.DPoP(client, await oauth.generateKeyPair(told.proof)) : undefined
  const options = { ...through, DPoP }

  const verifier = oauth.generateRandomCodeVerifier()
  const nonce = oauth.generateRandomNonce()
  const state = oauth.generateRandomState()
  let parameters = new URLSearchParams({
    client_id: client.client_id, redirect_uri: REDIRECT, response_type: 'code', scope: SCOPE, state, nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  })
  if (told.jar) {
    const request = await oauth.issueRequestObject(as, client, parameters, signing)
    parameters = new URLSearchParams({ client_id: client.client_id, request })
  }
  if (told.par) {
    const pushed = await withNonce(async () =>
      oauth.processPushedAuthorizationResponse(
        as, client, await oauth.pushedAuthorizationRequest(as, client, auth, parameters, options)))
    parameters = new URLSearchParams({ client_id: client.client_id, request_uri: pushed.request_uri })
  }

  const person = new Person(told)
  const returned = await person.walk(`${as.authorization_endpoint}?${parameters}`, REDIRECT)
  const callback = oauth.validateAuthResponse(as, client, returned, state)

  const { tokens, claims } = await withNonce(async () => {
    const answer = await oauth.authorizationCodeGrantRequest(as, client, auth, callback, REDIRECT, verifier, options)
    const tokens = await oauth.processAuthorizationCodeResponse(as, client, answer, { expectedNonce: nonce, requireIdToken: true })
    await oauth.validateApplicationLevelSignature(as, answer, through)
    return { tokens, claims: oauth.getValidatedIdTokenClaims(tokens) }
  })

  const userinfo = async (token) =>
    oauth.processUserInfoResponse(as, client, claims.sub, await oauth.userInfoRequest(as, client, token, options))
  const refresh = (token) =>
    withNonce(async () =>
      oauth.processRefreshTokenResponse(
        as, client, await oauth.refreshTokenGrantRequest(as, client, auth, token, options)))
  const introspect = async (token) => {
    const answer = await oauth.introspectionRequest(as, client, auth, token, { ...through, requestJwtResponse: true })
    const found = await oauth.processIntrospectionResponse(as, client, answer)
    await oauth.validateApplicationLevelSignature(as, answer, through)
    return found
  }
  const revoke = async (token) =>
    oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, token, through))

  const about = await userinfo(tokens.access_token)
  const seen = isPublic ? null : await introspect(tokens.access_token)
  const renewed = await refresh(tokens.refresh_token)
  const aboutAgain = await userinfo(renewed.access_token)
  await revoke(renewed.refresh_token ?? tokens.refresh_token)

  const leaving = new URLSearchParams({ id_token_hint: tokens.id_token, post_logout_redirect_uri: GOODBYE, state })
  return {
    registered: client, token_type: tokens.token_type, claims, about, introspected: seen, pages: person.seen,
    asked_for_a_nonce: counted.nonces,
    rotated: renewed.refresh_token !== undefined && renewed.refresh_token !== tokens.refresh_token,
    same_person: aboutAgain.sub === claims.sub,
    after_revocation: {
      userinfo: await refusal(() => userinfo(renewed.access_token)),
      refresh: await refusal(() => refresh(renewed.refresh_token ?? tokens.refresh_token)),
      active: isPublic ? false : (await introspect(renewed.access_token)).active,
    },
    left_to: (await person.walk(`${as.end_session_endpoint}?${leaving}`, GOODBYE)).href,
    state,
  }
})
