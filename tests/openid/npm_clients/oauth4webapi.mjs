// oauth4webapi with its validation as it comes: registers, signs in, calls, refreshes, introspects, revokes.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'
import { authorize } from './browser.mjs'

const { ISSUER, INVITATION } = process.env
const variant = JSON.parse(process.env.VARIANT)
const callback = 'https://client.example/cb'

const issuer = new URL(ISSUER)
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer))

const keys = await oauth.generateKeyPair(variant.algorithm ?? 'ES256', { extractable: true })
const jwk = { ...(await crypto.subtle.exportKey('jwk', keys.publicKey)), kid: 'k1', use: 'sig' }
delete jwk.key_ops
delete jwk.ext
delete jwk.alg

const metadata = {
  client_name: 'oauth4webapi',
  redirect_uris: [callback],
  grant_types: variant.credentials ? ['client_credentials'] : ['authorization_code', 'refresh_token'],
  response_types: variant.credentials ? [] : ['code'],
  token_endpoint_auth_method: variant.method,
  id_token_signed_response_alg: variant.idToken ?? 'ES256',
  ...(variant.userinfo ? { userinfo_signed_response_alg: variant.userinfo } : {}),
  ...(variant.method === 'private_key_jwt' || variant.jar ? { jwks: { keys: [jwk] } } : {}),
  ...(variant.nonce ? { require_dpop_nonce: true } : {}),
}
const registration = await oauth.dynamicClientRegistrationRequest(as, metadata, { initialAccessToken: INVITATION })
const client = await oauth.processDynamicClientRegistrationResponse(registration)

const auth = {
  private_key_jwt: () => oauth.PrivateKeyJwt({ key: keys.privateKey, kid: 'k1' }),
  client_secret_basic: () => oauth.ClientSecretBasic(client.client_secret),
  client_secret_post: () => oauth.ClientSecretPost(client.client_secret),
  none: () => oauth.None(),
}[variant.method]()
const DPoP = variant.dpop
  ? oauth.DPoP(client, await oauth.generateKeyPair(variant.dpopAlgorithm ?? 'ES256', { extractable: true }))
  : undefined

/** Once more with the nonce, when the server wants one. */
async function withNonce(act) {
  try {
    return await act()
  } catch (error) {
    if (!variant.nonce || !oauth.isDPoPNonceError(error)) throw error
    return await act()
  }
}

if (variant.credentials) {
  const result = await withNonce(async () =>
    oauth.processClientCredentialsResponse(
      as,
      client,
      await oauth.clientCredentialsGrantRequest(as, client, auth, new URLSearchParams(), { DPoP }),
    ),
  )
  assert.ok(result.access_token)
  process.exit(0)
}

const verifier = oauth.generateRandomCodeVerifier()
const nonce = oauth.generateRandomNonce()
const state = oauth.generateRandomState()
let parameters = new URLSearchParams({
  client_id: client.client_id,
  redirect_uri: callback,
  response_type: 'code',
  scope: 'openid email',
  state,
  nonce,
  ...(variant.pkce === false
    ? {}
    : { code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' }),
})
if (variant.jar) {
  const request = await oauth.issueRequestObject(as, client, parameters, { key: keys.privateKey, kid: 'k1' })
  parameters = new URLSearchParams({ client_id: client.client_id, request })
}
if (variant.par) {
  const pushed = await withNonce(async () =>
    oauth.processPushedAuthorizationResponse(
      as,
      client,
      await oauth.pushedAuthorizationRequest(as, client, auth, parameters, { DPoP }),
    ),
  )
  parameters = new URLSearchParams({ client_id: client.client_id, request_uri: pushed.request_uri })
}
const url = new URL(as.authorization_endpoint)
url.search = parameters
const answer = oauth.validateAuthResponse(as, client, await authorize(url, callback), state)

const sent = variant.pkce === false ? oauth.nopkce : verifier
const tokens = await withNonce(async () => {
  const response = await oauth.authorizationCodeGrantRequest(as, client, auth, answer, callback, sent, { DPoP })
  const read = await oauth.processAuthorizationCodeResponse(as, client, response, {
    expectedNonce: nonce,
    requireIdToken: true,
  })
  await oauth.validateApplicationLevelSignature(as, response)
  return read
})
const claims = oauth.getValidatedIdTokenClaims(tokens)
assert.equal(tokens.token_type, variant.dpop ? 'dpop' : 'bearer')

const info = await withNonce(async () => {
  const response = await oauth.userInfoRequest(as, client, tokens.access_token, { DPoP })
  return oauth.processUserInfoResponse(as, client, claims.sub, response)
})
assert.ok(info.email)

const refreshed = await withNonce(async () =>
  oauth.processRefreshTokenResponse(
    as,
    client,
    await oauth.refreshTokenGrantRequest(as, client, auth, tokens.refresh_token, { DPoP }),
  ),
)
assert.ok(refreshed.access_token)

if (variant.method !== 'none') {
  for (const signed of [false, true]) {
    const response = await oauth.introspectionRequest(as, client, auth, refreshed.access_token, {
      requestJwtResponse: signed,
    })
    const told = await oauth.processIntrospectionResponse(
      as,
      signed ? { ...client, introspection_signed_response_alg: 'ES256' } : client,
      response,
    )
    assert.equal(told.active, true)
  }
}
await oauth.processRevocationResponse(
  await oauth.revocationRequest(as, client, auth, refreshed.refresh_token ?? tokens.refresh_token),
)
await assert.rejects(async () =>
  oauth.processRefreshTokenResponse(
    as,
    client,
    await oauth.refreshTokenGrantRequest(as, client, auth, refreshed.refresh_token ?? tokens.refresh_token, { DPoP }),
  ),
)
