// A browser app as an integrator writes it on oidc-client-ts: a public client whose tokens are bound by DPoP.

const { authority, client_id } = await (await fetch('/client.json')).json()
const manager = new oidc.UserManager({
  authority,
  client_id,
  redirect_uri: `${location.origin}/callback`,
  silent_redirect_uri: `${location.origin}/silent`,
  post_logout_redirect_uri: `${location.origin}/goodbye`,
  scope: 'openid profile email offline_access',
  automaticSilentRenew: false,
  dpop: { store: new oidc.IndexedDbDPoPStore(), bind_authorization_code: true },
})

const show = (state, told) => {
  document.querySelector('#state').textContent = state
  document.querySelector('#told').textContent = JSON.stringify(told ?? null)
}
const user = (found) => found && {
  sub: found.profile.sub, email: found.profile.email, refresh_token: found.refresh_token,
  access_token: found.access_token, token_type: found.token_type,
}
const on = (id, act) =>
  document.querySelector(id).addEventListener('click', async () => {
    show('…')
    try {
      await act()
    } catch (error) {
      show('refused', { error: error.error ?? error.name, message: error.message })
    }
  })

on('#sign-in', () => manager.signinRedirect())
on('#renew', async () => show('renewed', user(await manager.signinSilent())))
on('#sign-out', () => manager.signoutRedirect())
on('#call', async () => {
  const found = await manager.getUser()
  const url = await manager.metadataService.getUserInfoEndpoint()
  const ask = async (nonce) => {
    const dpop = await manager.dpopProof(url, found, 'GET', nonce)
    return fetch(url, { headers: { authorization: `DPoP ${found.access_token}`, dpop } })
  }
  // RFC 9449 §9: the first answer says which nonce the proof must hold.
  let answer = await ask()
  if (answer.status === 401 && answer.headers.has('dpop-nonce')) answer = await ask(answer.headers.get('dpop-nonce'))
  show(`called ${answer.status}`, answer.ok ? await answer.json() : answer.headers.get('www-authenticate'))
})

if (location.pathname === '/silent') {
  await manager.signinCallback()
} else if (location.pathname === '/callback') {
  try {
    const found = await manager.signinRedirectCallback()
    history.replaceState(null, '', '/')
    show('signed in', user(found))
  } catch (error) {
    show('refused', { error: error.error ?? error.name, message: error.message })
  }
} else if (location.pathname === '/goodbye') {
  await manager.signoutRedirectCallback()
  show('signed out')
} else {
  const found = await manager.getUser()
  show(found ? 'signed in' : 'nobody', user(found))
}
