// A person at a browser, without a browser: follows redirects, keeps cookies, fills the two forms they meet.

const FORM = /<form method="post" action="([^"]+)"/
const HIDDEN = /<input type="hidden" name="([^"]+)" value="([^"]*)"/g
const MOST_STEPS = 20

const unescape = (text) =>
  text.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(code)).replaceAll('&quot;', '"').replaceAll('&amp;', '&')

export class Person {
  #cookies = new Map()

  constructor({ email, password }) {
    this.email = email
    this.password = password
    this.seen = []
  }

  // Walk from `address` until the browser is sent to `end`, which is never fetched; the address it was sent to.
  async walk(address, end) {
    let answer = await this.#send(address)
    for (let step = 0; step < MOST_STEPS; step++) {
      if (answer.status === 303) {
        const target = new URL(answer.headers.get('location'), answer.url)
        if (target.href.startsWith(end)) return target
        answer = await this.#send(target.href)
      } else {
        answer = await this.#fill(answer)
      }
    }
    throw new Error(`never came to ${end}: ${this.seen.join(' ')}`)
  }

  // The status and the text of a page that leads nowhere.
  async see(address) {
    let answer = await this.#send(address)
    while (answer.status === 303) answer = await this.#send(new URL(answer.headers.get('location'), answer.url).href)
    return { status: answer.status, text: await answer.text() }
  }

  async #fill(answer) {
    const page = await answer.text()
    const action = FORM.exec(page)
    if (!action || answer.status >= 400) {
      const shown = page.replace(/<style[^]*?<\/style>|<[^>]+>/g, ' ').replace(/\s+/g, ' ')
      throw new Error(`no way on: ${answer.status} ${answer.url} ${shown.slice(0, 1500)}`)
    }
    const target = new URL(unescape(action[1]), answer.url)
    const typed = Object.fromEntries([...page.matchAll(HIDDEN)].map(([, name, value]) => [name, unescape(value)]))
    const place = target.pathname.split('/').slice(2).join('/')
    this.seen.push(place)
    if (place === 'sign-in') Object.assign(typed, { email: this.email, password: this.password })
    else if (place === 'authorize/consent') typed.choice = 'accept'
    else throw new Error(`an unexpected page: ${place}`)
    return this.#send(target.href, new URLSearchParams(typed))
  }

  async #send(address, body) {
    const headers = { accept: 'text/html', 'accept-language': 'fr' }
    if (this.#cookies.size) headers.cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    if (body) headers.origin = new URL(address).origin
    const answer = await fetch(address, { method: body ? 'POST' : 'GET', body, headers, redirect: 'manual' })
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)
      if (value.replaceAll('"', '') === '' || /max-age=0/i.test(line)) this.#cookies.delete(name)
      else this.#cookies.set(name, value)
    }
    return answer
  }
}
