import { type NextRequest, NextResponse } from "next/server";

/**
 * Every page gets its own nonce: no other script runs, and none that those scripts did not load themselves.
 * Strings become scripts only by the policy `default` of the layout (Trusted Types), which knows our own files alone.
 */
export function proxy(request: NextRequest): NextResponse {
  const nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(18))).toString("base64");
  const policy = [
    "default-src 'self'",
    `script-src 'nonce-${nonce}' 'strict-dynamic'`,
    `style-src 'self' 'nonce-${nonce}'`,
    // React and pdf.js set positions as properties; what Markdown's highlighter sends from the server is attributes.
    "style-src-attr 'unsafe-inline'",
    "img-src 'self' blob: data:",
    "media-src 'self' blob:",
    "font-src 'self' blob: data:",
    "connect-src 'self'",
    "worker-src 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types default nextjs react",
  ].join("; ");
  const headers = new Headers(request.headers);
  headers.set("x-nonce", nonce);
  headers.set("x-path", request.nextUrl.pathname + request.nextUrl.search);
  headers.set("content-security-policy", policy);
  const response = NextResponse.next({ request: { headers } });
  response.headers.set("content-security-policy", policy);
  response.headers.set("cross-origin-opener-policy", "same-origin");
  response.headers.set("cache-control", "private, no-store");
  return response;
}

export const config = {
  // Not what the gateway answers: a proxy here would keep a copy of every upload.
  matcher: ["/((?!bff/|_next/static/|fonts/|pdf/|icon|apple-icon|manifest|health).*)"],
};
