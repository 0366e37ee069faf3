// openid-client (npm) drives code + PKCE, userinfo, refresh, introspection and revocation.
// The test plays the person: it is told the address, and answers with where they came back to.
import * as client from "openid-client";
import { createInterface } from "node:readline/promises";

const { issuer, id, secret, back } = JSON.parse(process.argv[2]);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const insecure = { execute: [client.allowInsecureRequests] };
const config = await client.discovery(new URL(issuer), id, secret, undefined, insecure);

const verifier = client.randomPKCECodeVerifier();
const state = client.randomState();
const nonce = client.randomNonce();
const address = client.buildAuthorizationUrl(config, {
  redirect_uri: back,
  scope: "openid profile email offline_access",
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
  state,
  nonce,
});
console.log(JSON.stringify({ address: address.href }));

const cameBack = new URL((await lines.next()).value);
const tokens = await client.authorizationCodeGrant(config, cameBack, {
  pkceCodeVerifier: verifier,
  expectedState: state,
  expectedNonce: nonce,
  idTokenExpected: true,
});
const claims = tokens.claims();
const person = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
const next = await client.refreshTokenGrant(config, tokens.refresh_token);
const active = await client.tokenIntrospection(config, next.access_token);
await client.tokenRevocation(config, next.refresh_token);
let refused = null;
try {
  await client.refreshTokenGrant(config, next.refresh_token);
} catch (error) {
  refused = error.error;
}
const itself = await client.clientCredentialsGrant(config, { scope: "orders:read" });
console.log(JSON.stringify({ claims, person, active, refused, itself }));
process.exit(0);
