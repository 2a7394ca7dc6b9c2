// The peer: oidc-provider as its documentation sets it up for production, with the clients of the bench.
// usage: node server.mjs CONFIG.json   (port, issuer, clients, jwks, postgres | null)
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { Provider } from "oidc-provider";
import { postgresAdapter } from "./postgres_adapter.mjs";

const config = JSON.parse(readFileSync(process.argv[2], "utf8"));
const adapter = config.postgres ? await postgresAdapter(config.postgres) : undefined;
const account = { accountId: "member", claims: () => ({ sub: "member", email: "m@example.test", name: "Camille" }) };

const provider = new Provider(config.issuer, {
  ...(adapter ? { adapter } : {}),
  clients: config.clients,
  jwks: config.jwks,
  cookies: { keys: [config.cookieKey] },
  enabledJWA: { requestObjectSigningAlgValues: ["ES256"] },
  claims: { openid: ["sub"], email: ["email"], profile: ["name"] },
  scopes: ["openid", "offline_access", "email", "profile"],
  pkce: { required: () => true },
  rotateRefreshToken: false,
  issueRefreshToken: async () => true, // offline_access wants a consent page at each authorization
  conformIdTokenClaims: true,
  routes: {
    authorization: "/authorize", token: "/token", jwks: "/jwks", userinfo: "/userinfo",
    introspection: "/introspect", pushed_authorization_request: "/par",
  },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    pushedAuthorizationRequests: { enabled: true },
    dPoP: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // A resource gets an ES256 JWT; without one the token is opaque.
      getResourceServerInfo: () => ({
        scope: "standing.read", audience: config.resource, accessTokenTTL: 300, accessTokenFormat: "jwt",
        jwt: { sign: { alg: "ES256" } },
      }),
      defaultResource: () => undefined,
      useGrantedResource: () => false,
    },
  },
  ttl: { AccessToken: 300, AuthorizationCode: 60, ClientCredentials: 300, IdToken: 300, Grant: 86400,
         RefreshToken: 86400, Session: 86400, Interaction: 600 },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: () => account,
  loadExistingGrant: async (ctx) => {
    const { client, session, provider: it } = ctx.oidc;
    const known = session.grantIdFor(client.clientId);
    // The memory store keeps the last thousand or two of everything, grants too.
    const kept = known && (await it.Grant.find(known));
    if (kept) return kept;
    const grant = new it.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope("openid offline_access email profile");
    await grant.save();
    return grant;
  },
});
provider.proxy = false;

const answer = provider.callback();
createServer(async (request, response) => {
  if (request.url === "/health/ready") {
    response.end("{}");
  } else if (request.url.startsWith("/interaction/")) {
    // Who signs in is not what is compared: everybody is the one member.
    await provider.interactionFinished(request, response, { login: { accountId: "member" } });
  } else {
    answer(request, response);
  }
}).listen(config.port, "127.0.0.1");
