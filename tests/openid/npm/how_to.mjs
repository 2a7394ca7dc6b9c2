// Somebody at the program of docs/how-to/sign-in-from-your-application.md, with a browser's cookies of it.

import { told, run } from './combination.mjs'
import { Person } from './person.mjs'

class Tab {
  #cookie = ''

  async ask(path, method = 'GET') {
    const answer = await fetch(path.startsWith('http') ? path : told.base + path, {
      method, redirect: 'manual', headers: { cookie: this.#cookie },
    })
    const line = answer.headers.getSetCookie()[0]
    if (line) this.#cookie = line.split(';')[0]
    return { status: answer.status, to: answer.headers.get('location'), said: await answer.text() }
  }

  async signIn(person) {
    const sent = await this.ask('/')
    const back = await this.ask((await person.walk(sent.to, `${told.base}/retour`)).href)
    return this.ask(back.to)
  }
}

await run(async () => {
  const person = new Person(told)
  const [one, other, stranger] = [new Tab(), new Tab(), new Tab()]
  const me = await one.signIn(person)
  const again = await other.signIn(person)
  const pages = [...person.seen]

  // The guard asks for the second step before anybody looks for the cabinet.
  const sent = await one.ask('/cabinets/cab_00000000000000000000000000')
  const wanted = await person.see(sent.to)

  const left = await one.ask('/sortie', 'POST')
  const goodbye = await person.walk(left.to, `${told.base}/au-revoir`)
  let heard = await other.ask('/')
  while (heard.status === 200) {
    await new Promise((done) => setTimeout(done, 100))
    heard = await other.ask('/')
  }
  return {
    me: JSON.parse(me.said), again: JSON.parse(again.said), pages,
    step_up: { asked: sent.to, shown: wanted.text },
    goodbye: (await one.ask(goodbye.href)).said,
    other_tab: { status: heard.status, to: heard.to },
    // A code that comes to another browser than the one that asked.
    planted: (await stranger.ask('/retour?code=x&state=y')).status,
    no_token: (await stranger.ask('/fin-de-session', 'POST')).status,
  }
})
