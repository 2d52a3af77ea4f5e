"use client";

import { ChevronLeft, Download, MessageSquare, X, ZoomIn, ZoomOut } from "lucide-react";
import Link from "next/link";
import { useRouter } from "next/navigation";
import { useState } from "react";
import type { Schemas } from "@/api/types";
import { address } from "@/lib/api";
import { useFormat } from "@/lib/format";
import { useList, useOne } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { Id } from "../copy";
import { FileMenu } from "../files/menu";
import { FileState } from "../files/state";
import { Failure, Loading } from "../states";
import { Time } from "../time";
import { Button, buttonStyle } from "../ui/button";
import type { Mark } from "./pdf";
import { Preview } from "./preview";

type File = Schemas["File"];
const ZOOMS = [0.6, 0.8, 1, 1.3, 1.7, 2.2];

function useZoom() {
  const t = useTexts();
  const [step, setStep] = useState(2);
  const buttons = (
    <>
      <Button
        variant="ghost"
        size="icon-sm"
        aria-label={t("files.zoom_out")}
        disabled={step === 0}
        onClick={() => setStep(step - 1)}
      >
        <ZoomOut aria-hidden />
      </Button>
      <Button
        variant="ghost"
        size="icon-sm"
        aria-label={t("files.zoom_in")}
        disabled={step === ZOOMS.length - 1}
        onClick={() => setStep(step + 1)}
      >
        <ZoomIn aria-hidden />
      </Button>
    </>
  );
  return { zoom: ZOOMS[step] ?? 1, buttons };
}

/** A document beside something else. */
export function Beside({
  fileId,
  version,
  page,
  mark,
  close,
}: {
  fileId: string;
  version?: number;
  page?: number;
  mark?: Mark;
  close: () => void;
}) {
  const t = useTexts();
  const file = useOne<File>(["files", "one", fileId], `/api/v1/files/${fileId}`);
  const { zoom, buttons } = useZoom();
  return (
    <>
      <header className="flex min-h-14 items-center gap-1 border-b pr-2 pl-4">
        <h2 className="min-w-0 grow truncate font-medium">
          <Link href={`/files/${fileId}`} className="hover:underline">
            {file.data?.filename ?? ""}
          </Link>
          {page && <span className="ml-2 font-normal text-muted">{t("chat.page", { page })}</span>}
        </h2>
        {buttons}
        <Button variant="ghost" size="icon-sm" aria-label={t("do.close")} onClick={close}>
          <X aria-hidden />
        </Button>
      </header>
      <div
        tabIndex={0}
        role="region"
        aria-label={file.data?.filename ?? t("files.preview")}
        className="min-h-0 grow overflow-auto bg-surface p-3"
      >
        {file.error && <Failure error={file.error} retry={() => void file.refetch()} />}
        {file.isPending && <Loading />}
        {file.data && <Preview file={file.data} version={version} page={page} mark={mark} zoom={zoom} />}
      </div>
    </>
  );
}

/** The page of one document: what it looks like, and what is known of it. */
export function DocumentPage({ fileId, page }: { fileId: string; page?: number }) {
  const t = useTexts();
  const format = useFormat();
  const router = useRouter();
  const [version, setVersion] = useState<number>();
  const file = useOne<File>(["files", "one", fileId], `/api/v1/files/${fileId}`);
  const versions = useList<Schemas["FileVersion"]>(["files", "versions", fileId], `/api/v1/files/${fileId}/versions`);
  const { zoom, buttons } = useZoom();
  if (file.error) {
    return (
      <div className="p-6">
        <Failure error={file.error} retry={() => void file.refetch()} />
      </div>
    );
  }
  if (!file.data) {
    return <Loading />;
  }
  const one = file.data;
  const rows: [string, React.ReactNode][] = [
    [t("files.state"), <FileState key="state" file={one} />],
    [t("files.kind"), one.mime_type],
    [t("files.size"), format.size(one.size)],
    [t("files.changed"), <Time key="at" at={one.updated_at} />],
    [t("files.hash"), <Id key="hash" text={one.sha256} length={16} className="-ml-1" />],
    [t("files.readers"), t("files.readers_you")],
  ];
  return (
    <div className="flex min-h-0 grow flex-col">
      <header className="flex min-h-14 items-center gap-1 border-b px-2 md:px-4">
        <Link
          href="/files"
          aria-label={t("files.title")}
          className={buttonStyle({ variant: "ghost", size: "icon-sm" })}
        >
          <ChevronLeft aria-hidden />
        </Link>
        <h1 className="min-w-0 grow truncate font-semibold text-base">{one.filename}</h1>
        <span className="hidden sm:contents">{buttons}</span>
        <Link href={`/chat?file=${one.id}`} className={buttonStyle({ size: "sm" })}>
          <MessageSquare aria-hidden />
          <span className="hidden sm:inline">{t("files.ask")}</span>
          <span className="sr-only sm:hidden">{t("files.ask")}</span>
        </Link>
        <a
          href={address(`/api/v1/files/${one.id}/content`, { version })}
          download={one.filename}
          aria-label={t("do.download")}
          className={buttonStyle({ variant: "ghost", size: "icon-sm" })}
        >
          <Download aria-hidden />
        </a>
        <FileMenu file={one} gone={() => router.push("/files")} />
      </header>
      <div className="flex min-h-0 grow flex-col overflow-y-auto lg:flex-row lg:overflow-hidden">
        <div
          tabIndex={0}
          role="region"
          aria-label={t("files.preview")}
          className="min-w-0 grow bg-surface p-3 md:p-6 lg:overflow-auto"
        >
          <div className="mx-auto max-w-4xl">
            <Preview file={one} version={version} page={page} zoom={zoom} />
          </div>
        </div>
        <aside className="shrink-0 space-y-6 border-t p-4 lg:w-72 lg:overflow-y-auto lg:border-t-0 lg:border-l">
          <section>
            <h2 className="mb-2 font-medium">{t("files.known")}</h2>
            <dl className="space-y-1.5">
              {rows.map(([name, value]) => (
                <div key={name} className="flex justify-between gap-3">
                  <dt className="shrink-0 text-muted">{name}</dt>
                  <dd className="min-w-0 truncate text-right">{value}</dd>
                </div>
              ))}
            </dl>
            {!!one.tags.length && (
              <p className="mt-3 flex flex-wrap gap-1.5">
                {one.tags.map((tag) => (
                  <span key={tag} className="rounded bg-hover px-1.5 text-muted text-xs">
                    {tag}
                  </span>
                ))}
              </p>
            )}
          </section>
          <section>
            <h2 className="mb-2 font-medium">{t("files.versions")}</h2>
            <ul className="space-y-0.5">
              {versions.data?.map((each) => {
                const shown = each.number === (version ?? one.version);
                return (
                  <li key={each.number}>
                    <button
                      type="button"
                      aria-pressed={shown}
                      onClick={() => setVersion(each.current ? undefined : each.number)}
                      className={`flex w-full items-baseline justify-between rounded-md px-2 py-1.5 hover:bg-hover pointer-coarse:py-2.5 ${shown ? "bg-hover" : ""}`}
                    >
                      <span>
                        {t("files.version", { n: each.number })}
                        {each.current && <span className="text-muted"> · {t("files.current")}</span>}
                      </span>
                      <Time at={each.created_at} className="text-muted text-xs" />
                    </button>
                  </li>
                );
              })}
            </ul>
          </section>
        </aside>
      </div>
    </div>
  );
}
