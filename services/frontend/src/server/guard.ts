import "server-only";

/** A problem document (RFC 9457), as the gateway's. */
export function problem(status: number, detail: string, type = "about:blank", more: object = {}): Response {
  return Response.json(
    { type, title: detail, status, detail, ...more },
    { status, headers: { "content-type": "application/problem+json", "cache-control": "no-store" } },
  );
}

/** Whether a request comes from our own pages: what browsers say of it, and no page can change (Fetch Metadata). */
export function sameOrigin(request: Request): boolean {
  const site = request.headers.get("sec-fetch-site");
  if (site !== null) {
    return site === "same-origin" || (site === "none" && request.method === "GET");
  }
  const origin = request.headers.get("origin");
  return origin === null ? request.method === "GET" : hostOf(origin) === request.headers.get("host");
}

/** A path of ours to go to next; anything else is the start page. */
export function localPath(text: string | null | undefined): string {
  return text && /^\/(?![/\\])[\x21-\x7e]*$/.test(text) && !text.startsWith("/bff/") ? text : "/";
}

function hostOf(origin: string): string | null {
  try {
    return new URL(origin).host;
  } catch {
    return null;
  }
}
