// openid-client with its validation as it comes: registers, signs in, calls, refreshes, introspects, revokes, leaves.
import assert from 'node:assert/strict'
import * as oidc from 'openid-client'
import { authorize } from './browser.mjs'

const { ISSUER, INVITATION } = process.env
const variant = JSON.parse(process.env.VARIANT)
const callback = 'https://client.example/cb'

const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
const jwk = { ...(await crypto.subtle.exportKey('jwk', keys.publicKey)), kid: 'k1', use: 'sig' }
delete jwk.key_ops
delete jwk.ext

const method = {
  private_key_jwt: () => oidc.PrivateKeyJwt({ key: keys.privateKey, kid: 'k1' }),
  client_secret_basic: () => oidc.ClientSecretBasic(),
  client_secret_post: () => oidc.ClientSecretPost(),
  none: () => oidc.None(),
}[variant.method]()
const config = await oidc.dynamicClientRegistration(
  new URL(ISSUER),
  {
    client_name: 'openid-client',
    redirect_uris: [callback],
    post_logout_redirect_uris: ['https://client.example/out'],
    grant_types: variant.credentials ? ['client_credentials'] : ['authorization_code', 'refresh_token'],
    response_types: variant.credentials ? [] : ['code'],
    token_endpoint_auth_method: variant.method,
    id_token_signed_response_alg: variant.idToken ?? 'ES256',
    ...(variant.method === 'private_key_jwt' || variant.jar ? { jwks: { keys: [jwk] } } : {}),
    ...(variant.nonce ? { require_dpop_nonce: true } : {}),
  },
  method,
  { initialAccessToken: INVITATION },
)
oidc.enableNonRepudiationChecks(config)
const DPoP = variant.dpop ? oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair('ES256')) : undefined

if (variant.credentials) {
  const result = await oidc.clientCredentialsGrant(config, {}, { DPoP })
  assert.ok(result.access_token)
  process.exit(0)
}

const pkceCodeVerifier = variant.pkce === false ? undefined : oidc.randomPKCECodeVerifier()
const expectedNonce = oidc.randomNonce()
const expectedState = oidc.randomState()
let parameters = new URLSearchParams({
  redirect_uri: callback,
  scope: 'openid email',
  state: expectedState,
  nonce: expectedNonce,
  ...(pkceCodeVerifier
    ? { code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256' }
    : {}),
})
let url
if (variant.jar) {
  const signed = await oidc.buildAuthorizationUrlWithJAR(config, parameters, { key: keys.privateKey, kid: 'k1' })
  parameters = signed.searchParams
  url = signed
} else {
  url = await oidc.buildAuthorizationUrl(config, parameters)
}
if (variant.par) url = await oidc.buildAuthorizationUrlWithPAR(config, parameters, { DPoP })

const current = await authorize(url, callback)
const tokens = await oidc.authorizationCodeGrant(
  config,
  current,
  { pkceCodeVerifier, expectedNonce, expectedState, idTokenExpected: true },
  undefined,
  { DPoP },
)
const info = await oidc.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, { DPoP })
assert.ok(info.email)
const refreshed = await oidc.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP })
if (variant.method !== 'none') {
  assert.equal((await oidc.tokenIntrospection(config, refreshed.access_token)).active, true)
}
await oidc.tokenRevocation(config, refreshed.refresh_token ?? tokens.refresh_token)
const leaving = oidc.buildEndSessionUrl(config, {
  id_token_hint: tokens.id_token,
  post_logout_redirect_uri: 'https://client.example/out',
  state: 'bye',
})
const left = await authorize(leaving, 'https://client.example/out')
assert.equal(left.searchParams.get('state'), 'bye')
