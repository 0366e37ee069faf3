// oidc-provider (npm) as the issuer in place of ours: JWT access tokens for one program.
import { generateKeyPairSync } from "node:crypto";
import Provider from "oidc-provider";

const { audience, port } = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const jwk = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" });
const provider = new Provider(issuer, {
  jwks: { keys: [{ ...jwk, kid: "their-key-1", use: "sig", alg: "ES256" }] },
  clients: [
    {
      client_id: "erp",
      client_secret: "a secret of theirs",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: "ES256",
    },
  ],
  scopes: ["orders:read", "catalog:write"],
  extraTokenClaims: () => ({ roles: ["clerk"] }),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (context, resource) => ({
        audience: resource,
        scope: "orders:read catalog:write",
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
});
provider.listen(port, "127.0.0.1", () => console.log(JSON.stringify({ issuer, audience })));
