"use client";

import type { PDFDocumentProxy, RenderTask } from "pdfjs-dist";
import { useEffect, useRef, useState } from "react";
import { address } from "@/lib/api";
import { useTexts } from "@/lib/texts";
import { Failure, Loading } from "../states";

export type Box = [number, number, number, number];
export type Mark = { page: number; boxes: Box[] };

/** Larger ones are fetched in pieces, as pages are looked at. */
const WHOLE_BYTES = 20 << 20;
const MAX_RATIO = 2;

/** The pages of a PDF, one below the other; each is drawn when it comes into view. */
export default function Pdf({
  fileId,
  size,
  version,
  page = 1,
  mark,
  zoom,
}: {
  fileId: string;
  size: number;
  version?: number;
  page?: number;
  mark?: Mark;
  zoom: number;
}) {
  const t = useTexts();
  const [pdf, setPdf] = useState<PDFDocumentProxy | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const [shape, setShape] = useState<[number, number]>([210, 297]);
  const frame = useRef<HTMLDivElement>(null);
  useEffect(() => {
    let over = false;
    let opened: PDFDocumentProxy | null = null;
    setPdf(null);
    setError(null);
    (async () => {
      const pdfjs = await import("pdfjs-dist");
      pdfjs.GlobalWorkerOptions.workerSrc = new URL("pdfjs-dist/build/pdf.worker.min.mjs", import.meta.url).toString();
      const whole = size <= WHOLE_BYTES;
      opened = await pdfjs.getDocument({
        url: address(`/api/v1/files/${fileId}/content`, { version }),
        disableRange: whole,
        disableAutoFetch: !whole,
        disableStream: !whole,
        rangeChunkSize: 1 << 18,
        cMapUrl: "/pdf/cmaps/",
        standardFontDataUrl: "/pdf/standard_fonts/",
        wasmUrl: "/pdf/wasm/",
        iccUrl: "/pdf/iccs/",
      }).promise;
      const first = await opened.getPage(1);
      const view = first.getViewport({ scale: 1 });
      if (over) {
        void opened.loadingTask.destroy();
        return;
      }
      setShape([view.width, view.height]);
      setPdf(opened);
    })().catch((reason) => !over && setError(reason));
    return () => {
      over = true;
      void opened?.loadingTask.destroy();
    };
  }, [fileId, size, version]);
  useEffect(() => {
    if (pdf) {
      frame.current?.querySelector(`[data-page="${page}"]`)?.scrollIntoView({ block: "start" });
    }
  }, [pdf, page]);
  if (error) {
    return (
      <Failure error={error}>
        <span>{t("files.preview_failed", { why: error.message })}</span>
      </Failure>
    );
  }
  if (!pdf) {
    return <Loading />;
  }
  return (
    <div ref={frame} className="space-y-3">
      {Array.from({ length: pdf.numPages }, (_, index) => (
        <PdfPage
          key={index}
          pdf={pdf}
          number={index + 1}
          shape={shape}
          zoom={zoom}
          boxes={mark?.page === index + 1 ? mark.boxes : []}
        />
      ))}
    </div>
  );
}

function PdfPage({
  pdf,
  number,
  shape,
  zoom,
  boxes,
}: {
  pdf: PDFDocumentProxy;
  number: number;
  shape: [number, number];
  zoom: number;
  boxes: Box[];
}) {
  const t = useTexts();
  const place = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [near, setNear] = useState(false);
  const [own, setOwn] = useState(shape);
  const [words, setWords] = useState("");
  useEffect(() => {
    const watch = new IntersectionObserver(([entry]) => setNear(entry?.isIntersecting ?? false), {
      rootMargin: "600px",
    });
    if (place.current) {
      watch.observe(place.current);
    }
    return () => watch.disconnect();
  }, []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a page is drawn anew for another size
  useEffect(() => {
    if (!near) {
      return;
    }
    let task: RenderTask | null = null;
    let over = false;
    void (async () => {
      const page = await pdf.getPage(number);
      const plain = page.getViewport({ scale: 1 });
      if (over || !canvas.current || !place.current) {
        return;
      }
      setOwn([plain.width, plain.height]);
      const ratio = Math.min(MAX_RATIO, window.devicePixelRatio || 1);
      const view = page.getViewport({ scale: (place.current.clientWidth / plain.width) * ratio });
      canvas.current.width = Math.floor(view.width);
      canvas.current.height = Math.floor(view.height);
      task = page.render({ canvas: canvas.current, viewport: view });
      await task.promise.catch(() => undefined);
      const text = await page.getTextContent();
      if (!over) {
        setWords(text.items.map((one) => ("str" in one ? one.str : "")).join(" "));
      }
    })();
    return () => {
      over = true;
      task?.cancel();
    };
  }, [near, pdf, number, zoom]);
  return (
    <div
      ref={place}
      data-page={number}
      className="relative mx-auto scroll-mt-3 overflow-hidden border bg-white"
      style={{ width: `${zoom * 100}%`, aspectRatio: `${own[0]} / ${own[1]}` }}
    >
      {near && <canvas ref={canvas} aria-hidden className="absolute inset-0 size-full" />}
      {boxes.map((box) => (
        <div
          key={box.join()}
          data-mark
          className="absolute rounded-xs bg-[oklch(0.88_0.16_95/0.5)] mix-blend-multiply"
          style={{
            left: `${box[0] * 100}%`,
            top: `${box[1] * 100}%`,
            width: `${(box[2] - box[0]) * 100}%`,
            height: `${(box[3] - box[1]) * 100}%`,
          }}
        />
      ))}
      <p className="sr-only">
        {t("files.page_of", { page: number, pages: pdf.numPages })}: {words}
      </p>
    </div>
  );
}
