import { after, type NextRequest } from "next/server";
import { problem, sameOrigin } from "@/server/guard";
import { isCsrf, live, sessionKey } from "@/server/session";
import { gatewayUrl } from "@/server/settings";

/** Headers that the gateway gets of the browser's; all others stay here. */
const SENT = [
  "accept",
  "accept-language",
  "content-type",
  "content-length",
  "content-disposition",
  "idempotency-key",
  "if-match",
  "if-none-match",
  "if-range",
  "last-event-id",
  "range",
  "tus-resumable",
  "upload-concat",
  "upload-defer-length",
  "upload-length",
  "upload-metadata",
  "upload-offset",
  "upload-checksum",
  "user-agent",
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "x-request-id",
  "repr-digest",
  "content-digest",
]; // prettier-ignore
/** Headers of the gateway's that concern one connection, or that are ours to say. */
const KEPT_BACK = ["connection", "keep-alive", "transfer-encoding", "set-cookie", "www-authenticate", "server", "date"];
/** Sign-in gives tokens, which no script shall see: it has routes of its own. */
const CLOSED = /^auth\//;

async function handle(request: NextRequest, { params }: { params: Promise<{ path: string[] }> }): Promise<Response> {
  const path = (await params).path.map(encodeURIComponent).join("/");
  if (!sameOrigin(request) || CLOSED.test(path)) {
    return problem(403, "This address is for Zentoria's own pages");
  }
  const key = await sessionKey();
  let session = key === undefined ? null : await live(key);
  if (key === undefined || session === null) {
    return problem(401, "Nobody is signed in", "/problems/signed-out");
  }
  const reads = request.method === "GET" || request.method === "HEAD";
  if (!reads && !isCsrf(session, request.headers.get("x-csrf-token"))) {
    return problem(403, "The CSRF token is missing or not this session's", "/problems/csrf");
  }
  const url = new URL(`/api/v1/${path}${request.nextUrl.search}`, gatewayUrl());
  const lastEvent = url.searchParams.get("last_event_id");
  const headers = new Headers();
  for (const name of SENT) {
    const value = request.headers.get(name);
    if (value !== null) {
      headers.set(name, value);
    }
  }
  if (lastEvent !== null && !headers.has("last-event-id")) {
    headers.set("last-event-id", lastEvent);
  }
  const ask = (token: string): Promise<Response> => {
    headers.set("authorization", `Bearer ${token}`);
    return fetch(url, {
      method: request.method,
      headers,
      body: reads ? undefined : request.body,
      cache: "no-store",
      redirect: "manual",
      signal: request.signal,
      duplex: "half",
    } as RequestInit);
  };
  try {
    let answer = await ask(session.access);
    if (answer.status === 401 && reads) {
      // The token was taken back before its time: perhaps another tab has a new one, else the session is over.
      session = await live(key, session.access);
      if (session === null) {
        return problem(401, "The session has ended", "/problems/signed-out");
      }
      answer = await ask(session.access);
    }
    return passed(answer, url);
  } catch (error) {
    if (request.signal.aborted) {
      return new Response(null, { status: 499 });
    }
    after(() => console.error(JSON.stringify({ event: "gateway away", path: url.pathname, error: String(error) })));
    return problem(503, "The gateway does not answer", "/problems/unavailable", { service: "gateway" });
  }
}

function passed(answer: Response, asked: URL): Response {
  const headers = new Headers(answer.headers);
  for (const name of KEPT_BACK) {
    headers.delete(name);
  }
  if (headers.has("content-encoding")) {
    // fetch has unpacked it already.
    headers.delete("content-encoding");
    headers.delete("content-length");
  }
  const location = headers.get("location");
  if (location !== null) {
    const there = new URL(location, asked);
    headers.set("location", `/bff${there.pathname}${there.search}`);
  }
  headers.set("x-accel-buffering", "no");
  return new Response(answer.body, { status: answer.status, headers });
}

export { handle as DELETE, handle as GET, handle as HEAD, handle as PATCH, handle as POST, handle as PUT };
