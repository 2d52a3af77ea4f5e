"use client";

import { FileQuestion } from "lucide-react";
import dynamic from "next/dynamic";
import { useEffect, useState } from "react";
import type { Schemas } from "@/api/types";
import { ApiError, address, errorOf } from "@/lib/api";
import { useTexts } from "@/lib/texts";
import { Empty, Failure, Loading } from "../states";
import type { Mark } from "./pdf";

const Pdf = dynamic(() => import("./pdf"), { ssr: false, loading: Loading });

const TEXT_BYTES = 512 << 10;
const IMAGES = /^image\/(png|jpeg|gif|webp|avif|bmp)$/;

type Props = { file: Schemas["File"]; version?: number; page?: number; mark?: Mark; zoom: number };

/** A file as one looks at it. Nothing of it is ever a page of ours: images and sound are fetched as data, text is text. */
export function Preview({ file, version, page, mark, zoom }: Props) {
  const t = useTexts();
  const mime = file.mime_type;
  if (mime === "application/pdf") {
    return <Pdf fileId={file.id} size={file.size} version={version} page={page} mark={mark} zoom={zoom} />;
  }
  if (IMAGES.test(mime) || /^(audio|video)\//.test(mime)) {
    return <Media file={file} version={version} zoom={zoom} />;
  }
  if (/^text\/|json|xml|yaml|javascript|x-sh/.test(mime)) {
    return <PlainText file={file} version={version} />;
  }
  return <Empty icon={FileQuestion} title={file.filename} text={t("files.no_preview")} />;
}

function useContent<R>(
  file: Schemas["File"],
  version: number | undefined,
  take: (answer: Response) => Promise<R>,
  range?: string,
) {
  const [found, setFound] = useState<R | null>(null);
  const [error, setError] = useState<unknown>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: how it is taken does not change
  useEffect(() => {
    const stop = new AbortController();
    setFound(null);
    setError(null);
    (async () => {
      const answer = await fetch(address(`/api/v1/files/${file.id}/content`, { version }), {
        signal: stop.signal,
        headers: range ? { range } : {},
      });
      if (!answer.ok) {
        throw await errorOf(answer);
      }
      setFound(await take(answer));
    })().catch(
      (reason) =>
        !stop.signal.aborted && setError(reason instanceof ApiError ? reason : new ApiError(0, "", "network", null)),
    );
    return () => stop.abort();
  }, [file.id, file.version, version, range]);
  return { found, error };
}

function Media({ file, version, zoom }: { file: Schemas["File"]; version?: number; zoom: number }) {
  const { found, error } = useContent(file, version, async (answer) => URL.createObjectURL(await answer.blob()));
  useEffect(() => () => (found ? URL.revokeObjectURL(found) : undefined), [found]);
  if (error) {
    return <Failure error={error} />;
  }
  if (!found) {
    return <Loading />;
  }
  if (file.mime_type.startsWith("audio/")) {
    // biome-ignore lint/a11y/useMediaCaption: what is said in a file of the user's, nobody has written down
    return <audio controls src={found} aria-label={file.filename} className="w-full" />;
  }
  if (file.mime_type.startsWith("video/")) {
    // biome-ignore lint/a11y/useMediaCaption: as above
    return <video controls src={found} aria-label={file.filename} className="w-full" />;
  }
  return (
    <img
      src={found}
      alt={file.filename}
      className="mx-auto max-w-none rounded border"
      style={{ width: `${zoom * 100}%` }}
    />
  );
}

function PlainText({ file, version }: { file: Schemas["File"]; version?: number }) {
  const t = useTexts();
  const cut = file.size > TEXT_BYTES;
  const { found, error } = useContent(
    file,
    version,
    (answer) => answer.text(),
    cut ? `bytes=0-${TEXT_BYTES - 1}` : undefined,
  );
  if (error) {
    return <Failure error={error} />;
  }
  if (found === null) {
    return <Loading />;
  }
  return (
    <>
      <pre
        tabIndex={0}
        className="overflow-x-auto whitespace-pre-wrap rounded-lg border bg-raised p-4 text-xs leading-5"
      >
        {found}
      </pre>
      {cut && <p className="mt-2 text-muted">{t("files.too_large")}</p>}
    </>
  );
}
