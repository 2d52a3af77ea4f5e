import { Blocks } from "lucide-react";
import type { Metadata } from "next";
import { PageHead } from "@/components/page-head";
import { texts } from "@/i18n/server";

export async function generateMetadata(): Promise<Metadata> {
  return { title: (await texts())("workflows.title") };
}

export default async function Workflows() {
  const t = await texts();
  return (
    <>
      <PageHead title={t("workflows.title")} />
      <div className="mx-auto flex max-w-md flex-col items-center px-4 py-16 text-center">
        <Blocks aria-hidden className="mb-4 size-7 stroke-[1.25] text-muted" />
        <h2 className="font-semibold text-base">{t("workflows.empty_title")}</h2>
        <p className="mt-1.5 text-muted">{t("workflows.empty_text")}</p>
      </div>
    </>
  );
}
