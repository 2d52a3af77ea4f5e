"use client";

import { useTexts } from "@/lib/texts";
import { CopyButton } from "../copy";
import { buttonStyle } from "../ui/button";

/** How other programs reach this Zentoria. */
export function Programs({ publicUrl }: { publicUrl: string }) {
  const t = useTexts();
  const url = `${publicUrl}/mcp`;
  const configuration = JSON.stringify({ mcpServers: { zentoria: { type: "http", url } } }, null, 2);
  const remote = JSON.stringify({ mcpServers: { zentoria: { command: "npx", args: ["mcp-remote", url] } } }, null, 2);
  return (
    <>
      <p className="mb-6 max-w-prose text-muted">{t("settings.programs_text")}</p>
      <h3 className="mb-2 font-medium">{t("settings.programs_config")}</h3>
      {[configuration, remote].map((text) => (
        <div key={text} className="relative mb-3">
          <pre tabIndex={0} className="overflow-x-auto rounded-lg border bg-surface p-4 text-xs leading-5">
            {text}
          </pre>
          <CopyButton text={text} className="absolute top-2 right-2" />
        </div>
      ))}
      <a href="/auth/applications" className={buttonStyle({})}>
        {t("settings.programs_manage")}
      </a>
    </>
  );
}
