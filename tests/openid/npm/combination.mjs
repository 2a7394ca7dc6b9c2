// What one run is told (JSON, first argument) and what it tells (JSON, last line of its output).

export const told = JSON.parse(process.argv[2])

export const REDIRECT = 'https://logiciel.client.example/retour'
export const GOODBYE = 'https://logiciel.client.example/au-revoir'
export const SCOPE = 'openid profile email offline_access'

export const isPublic = told.method === 'none'
export const usesKeys = told.method === 'private_key_jwt' || told.jar

// How this client describes itself (RFC 7591 §2); `keys` are the public halves it signs with.
export function metadata(keys, more = {}) {
  return {
    client_name: `${told.library} ${told.name}`,
    redirect_uris: [REDIRECT],
    post_logout_redirect_uris: [GOODBYE],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    scope: SCOPE,
    token_endpoint_auth_method: told.method,
    ...(told.profile === 'compat' ? {} : { id_token_signed_response_alg: told.algorithm === 'Ed25519' ? 'EdDSA' : told.algorithm }),
    ...(usesKeys ? { jwks: { keys } } : {}),
    ...(told.jar ? { request_object_signing_alg: told.algorithm, require_signed_request_object: true } : {}),
    ...(told.par ? { require_pushed_authorization_requests: true } : {}),
    ...(told.dpop ? { dpop_bound_access_tokens: true, require_dpop_nonce: told.nonce } : {}),
    ...more,
  }
}

// The refusal that `act` meets, as its OAuth error code or its HTTP status.
export async function refusal(act) {
  try {
    await act()
  } catch (error) {
    return error.error ?? error.cause?.error ?? error.cause?.[0]?.parameters?.error ?? error.status ?? error.code ?? String(error)
  }
  return null
}

// Every answer that passes by: how often the server asked for a nonce.
export function counting(fetching = fetch) {
  const counted = { nonces: 0 }
  const passing = async (...asked) => {
    const answer = await fetching(...asked)
    if (answer.status === 400 && (await answer.clone().text()).includes('use_dpop_nonce')) counted.nonces += 1
    return answer
  }
  return [passing, counted]
}

export async function run(flow) {
  try {
    console.log(JSON.stringify(await flow()))
  } catch (error) {
    console.error(error)
    for (let cause = error.cause; cause; cause = cause.cause) console.error('because', cause)
    process.exitCode = 1
  }
}
