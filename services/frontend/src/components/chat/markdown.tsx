"use client";

import { math } from "@streamdown/math";
import { type ComponentProps, memo, useMemo } from "react";
import { Streamdown } from "streamdown";
import "katex/dist/katex.min.css";
import { useTexts } from "@/lib/texts";
import { type Citation, citedBy, isGrey, marked } from "./model";

type Props = {
  text: string;
  citations: Citation[];
  grey: [number, number][];
  streaming: boolean;
  onCitation: (citation: Citation) => void;
};

/** An answer as it is read. Whatever it says, nothing of it runs, and nothing is fetched from elsewhere. */
function Markdown({ text, citations, grey, streaming, onCitation }: Props) {
  const t = useTexts();
  const whole = useMemo(() => marked(text, citations, grey), [text, citations, grey]);
  const components = useMemo(
    () => ({
      a: ({ href, children }: ComponentProps<"a">) => {
        const number = citedBy(href);
        if (isGrey(href)) {
          return (
            <span data-unsupported className="text-muted">
              {children}
            </span>
          );
        }
        if (number === null) {
          return (
            <a href={href} target="_blank" rel="noopener noreferrer nofollow">
              {children}
            </a>
          );
        }
        const citation = citations.find((one) => one.n === number);
        return citation ? (
          <Cite
            citation={citation}
            label={t("chat.source", { n: number, name: citation.filename, page: citation.page })}
            open={onCitation}
          />
        ) : null;
      },
      img: ({ alt }: ComponentProps<"img">) => <span className="text-muted">[{alt}]</span>,
    }),
    [citations, onCitation, t],
  );
  return (
    <Streamdown
      mode={streaming ? "streaming" : "static"}
      isAnimating={streaming}
      components={components}
      plugins={{ math }}
      className="reading"
    >
      {whole}
    </Streamdown>
  );
}

export default memo(Markdown);

function Cite({ citation, label, open }: { citation: Citation; label: string; open: (citation: Citation) => void }) {
  return (
    <span className="group/cite relative inline-block">
      <button
        type="button"
        data-citation={citation.n}
        aria-label={label}
        onClick={() => open(citation)}
        className="mx-0.5 min-w-5 -translate-y-0.5 rounded bg-accent-soft px-1.5 text-center font-medium text-accent text-xs leading-5 hover:bg-accent hover:text-on-accent"
      >
        {citation.n}
      </button>
      <span
        aria-hidden
        className="pointer-events-none invisible absolute bottom-full left-1/2 z-20 mb-1 block w-72 max-w-[80vw] -translate-x-1/2 rounded-md border bg-raised p-3 text-left text-text text-xs leading-5 opacity-0 shadow-float transition-opacity group-focus-within/cite:visible group-focus-within/cite:opacity-100 group-hover/cite:visible group-hover/cite:opacity-100 group-hover/cite:delay-200"
      >
        <span className="mb-1 block truncate font-medium">
          {citation.filename} · {citation.page}
        </span>
        <span className="line-clamp-5 text-muted">{citation.passage}</span>
      </span>
    </span>
  );
}
