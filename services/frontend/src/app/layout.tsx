import type { Metadata, Viewport } from "next";
import { cookies, headers } from "next/headers";
import type { ReactNode } from "react";
import { language } from "@/i18n/server";
import { TextsProvider } from "@/lib/texts";
import "./globals.css";

export const metadata: Metadata = {
  title: { default: "Zentoria", template: "%s · Zentoria" },
  description: "Your own assistant, documents and workflows, on your own machine",
  applicationName: "Zentoria",
  appleWebApp: { capable: true, title: "Zentoria", statusBarStyle: "default" },
};

export const viewport: Viewport = {
  width: "device-width",
  initialScale: 1,
  viewportFit: "cover",
  interactiveWidget: "resizes-content",
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#fbfaf7" },
    { media: "(prefers-color-scheme: dark)", color: "#141310" },
  ],
};

/** What styles are made with in dialogs wants the nonce (get-nonce). Trusted Types: a string becomes a script's address only when it is a built file of ours, and HTML never. */
const TRUSTED = `(function(){window.__webpack_nonce__=document.currentScript.nonce;if(!window.trustedTypes)return;var f=location.origin+"/_next/static/";
trustedTypes.createPolicy("default",{createScriptURL:function(u){return new URL(u,location.href).href.indexOf(f)===0?u:null}})})()`;

export default async function RootLayout({ children }: { children: ReactNode }) {
  const { code, messages } = await language();
  const chosen = (await cookies()).get("theme")?.value;
  const theme = chosen === "light" || chosen === "dark" ? chosen : "system";
  const nonce = (await headers()).get("x-nonce") ?? undefined;
  return (
    <html lang={code} className={theme} suppressHydrationWarning>
      <head>
        {/* biome-ignore lint/security/noDangerouslySetInnerHtml: a constant of ours, with the page's nonce */}
        <script nonce={nonce} suppressHydrationWarning dangerouslySetInnerHTML={{ __html: TRUSTED }} />
      </head>
      <body>
        <TextsProvider code={code} messages={messages}>
          {children}
        </TextsProvider>
      </body>
    </html>
  );
}
