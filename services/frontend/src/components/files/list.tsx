"use client";

import { FileText, Search, Upload as UploadIcon } from "lucide-react";
import Link from "next/link";
import { useRouter, useSearchParams } from "next/navigation";
import { useEffect, useRef, useState } from "react";
import type { Schemas } from "@/api/types";
import { cn } from "@/lib/cn";
import { useFormat } from "@/lib/format";
import { useList } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { PageHead } from "../page-head";
import { Empty, Failure, Loading } from "../states";
import { Time } from "../time";
import { Button } from "../ui/button";
import { Input } from "../ui/input";
import { useFileActions } from "./actions";
import { KindIcon } from "./kind";
import { FileMenu } from "./menu";
import { FileState } from "./state";
import { Uploads } from "./uploads";
import { useDrop, useUpload } from "./use-upload";

type File = Schemas["File"];

/** All files, with a search by name. */
export function FileList() {
  const t = useTexts();
  const router = useRouter();
  const params = useSearchParams();
  const [words, setWords] = useState(params.get("q") ?? "");
  const deleted = params.get("deleted") === "1";
  const [asked, setAsked] = useState(words);
  const picker = useRef<HTMLInputElement>(null);
  const send = useUpload();
  const drop = useDrop(send);
  const list = useList<File>(["files"], "/api/v1/files", { q: asked, deleted: deleted || undefined });
  useEffect(() => {
    const timer = setTimeout(() => {
      setAsked(words);
      const query = new URLSearchParams({ ...(words && { q: words }), ...(deleted && { deleted: "1" }) });
      window.history.replaceState(null, "", `/files${query.size ? `?${query}` : ""}`);
    }, 150);
    return () => clearTimeout(timer);
  }, [words, deleted]);
  useEffect(() => {
    if (params.get("upload")) {
      picker.current?.click();
    }
  }, [params]);
  return (
    <div {...drop.handlers} className="relative flex min-h-0 grow flex-col">
      <PageHead title={t("files.title")}>
        <div className="relative w-full sm:w-64">
          <Search aria-hidden className="absolute top-2.5 left-2.5 size-4 stroke-[1.5] text-muted" />
          <Input
            type="search"
            aria-label={t("files.search")}
            placeholder={t("files.search")}
            value={words}
            onChange={(event) => setWords(event.target.value)}
            className="pl-8"
          />
        </div>
        <Button
          aria-pressed={deleted}
          className={cn(deleted && "bg-hover")}
          onClick={() => router.push(deleted ? "/files" : "/files?deleted=1")}
        >
          {t("files.deleted_list")}
        </Button>
        <Button variant="primary" onClick={() => picker.current?.click()}>
          <UploadIcon aria-hidden />
          {t("files.upload")}
        </Button>
        <input
          ref={picker}
          type="file"
          multiple
          tabIndex={-1}
          aria-label={t("files.upload")}
          className="sr-only"
          onChange={(event) => {
            void send([...(event.target.files ?? [])]);
            event.target.value = "";
          }}
        />
      </PageHead>
      <div className="min-h-0 grow overflow-y-auto px-4 py-4 md:px-6">
        <Uploads />
        {list.error && <Failure error={list.error} retry={() => void list.refetch()} />}
        {list.isPending && <Loading />}
        {list.data?.length === 0 &&
          (asked || deleted ? (
            <p className="py-12 text-center text-muted">{t("files.none")}</p>
          ) : (
            <Empty icon={FileText} title={t("files.empty_title")} text={t("files.empty_text")}>
              <Button onClick={() => picker.current?.click()}>
                <UploadIcon aria-hidden />
                {t("files.upload")}
              </Button>
            </Empty>
          ))}
        {!!list.data?.length && (
          <table className="w-full table-fixed">
            <thead className="text-left text-muted text-xs">
              <tr className="[&>th]:pb-2 [&>th]:font-normal">
                <th scope="col">{t("files.name")}</th>
                <th scope="col" className="hidden w-36 sm:table-cell">
                  {t("files.state")}
                </th>
                <th scope="col" className="hidden w-24 text-right md:table-cell">
                  {t("files.size")}
                </th>
                <th scope="col" className="hidden w-32 pl-6 md:table-cell">
                  {t("files.changed")}
                </th>
                <th scope="col" className="w-10">
                  <span className="sr-only">{t("do.more_menu")}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {list.data.map((file) => (
                <Row key={file.id} file={file} />
              ))}
            </tbody>
          </table>
        )}
        {list.hasNextPage && (
          <Button className="mt-4" onClick={() => void list.fetchNextPage()} disabled={list.isFetchingNextPage}>
            {t("do.more")}
          </Button>
        )}
      </div>
      {drop.over && (
        <div className="pointer-events-none absolute inset-3 z-10 flex items-center justify-center rounded-lg border-2 border-accent border-dashed bg-background/85 font-medium text-base">
          {t("files.drop")}
        </div>
      )}
    </div>
  );
}

function Row({ file }: { file: File }) {
  const t = useTexts();
  const format = useFormat();
  const { restore } = useFileActions();
  return (
    <tr className="group border-t hover:bg-surface [content-visibility:auto]">
      <td className="py-2.5 pr-3">
        <div className="flex min-w-0 items-center gap-2.5">
          <KindIcon mime={file.mime_type} />
          <div className="min-w-0">
            <Link href={`/files/${file.id}`} className="block truncate font-medium hover:underline">
              {file.filename}
            </Link>
            <p className="truncate text-muted text-xs sm:hidden">
              {format.size(file.size)} · <Time at={file.updated_at} /> · <FileState file={file} />
            </p>
          </div>
          {file.tags.map((tag) => (
            <span key={tag} className="hidden shrink-0 rounded bg-hover px-1.5 text-muted text-xs lg:inline">
              {tag}
            </span>
          ))}
        </div>
      </td>
      <td className="hidden sm:table-cell">
        {file.deleted_at && file.purge_after ? (
          <span className="text-muted text-xs">{t("files.purge", { when: format.ago(file.purge_after) })}</span>
        ) : (
          <FileState file={file} />
        )}
      </td>
      <td className="hidden text-right text-muted md:table-cell">{format.size(file.size)}</td>
      <td className="hidden pl-6 text-muted md:table-cell">
        <Time at={file.updated_at} />
      </td>
      <td className="text-right">
        {file.deleted_at ? (
          <Button size="sm" onClick={() => void restore(file)}>
            {t("files.restore")}
          </Button>
        ) : (
          <FileMenu file={file} />
        )}
      </td>
    </tr>
  );
}
