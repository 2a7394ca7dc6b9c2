// A browser small enough to read: cookies, redirects by hand, and the one form of the consent page.

const jar = new Map(Object.entries(JSON.parse(process.env.COOKIES)))

async function request(url, options = {}) {
  const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
  const headers = { accept: 'text/html', cookie, ...options.headers }
  const answer = await fetch(url, { ...options, headers, redirect: 'manual' })
  for (const line of answer.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)
    jar.set(name, value)
  }
  return answer
}

/** Follows an authorization request, agreeing where asked, until the client's own address. */
export async function authorize(url, callback) {
  let answer = await request(url)
  for (let step = 0; step < 8; step++) {
    const location = answer.headers.get('location')
    if (location?.startsWith(callback)) return new URL(location)
    if (location) {
      answer = await request(location)
      continue
    }
    const page = await answer.text()
    if (!page.includes('id="accept"')) throw new Error(`unexpected page ${answer.status}: ${page.slice(0, 2000)}`)
    const form = new URLSearchParams({ choice: 'accept' })
    for (const [, name, value] of page.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)) {
      form.set(name, value)
    }
    const action = new URL(/<form method="post" action="([^"]+)"/.exec(page)[1], url)
    const origin = new URL(url).origin
    answer = await request(action, { method: 'POST', body: form, headers: { origin } })
  }
  throw new Error('too many steps')
}
