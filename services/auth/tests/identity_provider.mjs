// An OpenID Connect provider (npm oauth2-mock-server) whose answers a test can change: it POSTs a plan to /plan.
// Arguments: the folder node_modules. Prints one line of JSON with both addresses, and ends with its standard input.
import http from "node:http";
import { pathToFileURL } from "node:url";

const { OAuth2Server } = await import(
  pathToFileURL(`${process.argv[2]}/oauth2-mock-server/dist/index.mjs`).href
);
const server = new OAuth2Server();
await server.issuer.keys.generate("RS256");
await server.start(0, "127.0.0.1");
let plan = {};

function merge(target, changes) {
  for (const [name, value] of Object.entries(changes ?? {})) {
    if (value === null) delete target[name];
    else target[name] = value;
  }
}
server.service.on("beforeTokenSigning", (token) => {
  if ("scope" in token.payload) return; // the access token
  merge(token.payload, plan.id_token);
  merge(token.header, plan.header);
});
server.service.on("beforeResponse", (response) => {
  merge(response.body, plan.response);
  response.statusCode = plan.status ?? 200;
});
server.service.on("beforeUserinfo", (response) => merge(response.body, plan.userinfo));
server.service.on("beforeAuthorizeRedirect", ({ url }) => {
  for (const [name, value] of Object.entries(plan.redirect ?? {})) {
    if (value === null) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
});
const control = http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  plan = JSON.parse(Buffer.concat(chunks).toString());
  if (plan.new_key) {
    const [old] = server.issuer.keys.toJSON();
    await server.issuer.keys.generate("ES256", { kid: `new-${Date.now()}` });
    server.issuer.keys.get(old.kid); // the old one goes to the end of the round
  }
  response.end("{}");
});
control.listen(0, "127.0.0.1", () => {
  const addresses = { issuer: server.issuer.url, control: `http://127.0.0.1:${control.address().port}/plan` };
  console.log(JSON.stringify(addresses));
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
