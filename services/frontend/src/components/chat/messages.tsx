"use client";

import { ChevronLeft, ChevronRight, Copy, Pencil, RotateCcw } from "lucide-react";
import dynamic from "next/dynamic";
import { memo, useState } from "react";
import { cn } from "@/lib/cn";
import { useTexts } from "@/lib/texts";
import { ApprovalCard, type Asked } from "../approvals/card";
import { Failure } from "../states";
import { Button } from "../ui/button";
import { type Citation, citationsOf, type Message, proposalsOf, refusedOf, unsupportedOf } from "./model";
import { type Answer, useAnswers } from "./stream";

const Markdown = dynamic(() => import("./markdown"), { loading: () => <div className="min-h-7" /> });

export type Acts = {
  edit: (message: Message, text: string) => void;
  retry: (message: Message) => void;
  branch: (message: Message, sibling: string) => void;
  open: (citation: Citation) => void;
};

type Props = { message: Message; siblings: string[]; acts: Acts; busy: boolean };

/** One message: what the user said, or an answer. */
export const MessageView = memo(function MessageView(props: Props) {
  return props.message.role === "user" ? <UserMessage {...props} /> : <AnswerMessage {...props} />;
});

function UserMessage({ message, siblings, acts, busy }: Props) {
  const t = useTexts();
  const [edits, setEdits] = useState(false);
  const [text, setText] = useState(message.content);
  const files = (message.parts as { filename?: string; file_id?: string }[]).filter(
    (part) => part?.filename && part.file_id,
  );
  return (
    <article aria-label={t("chat.you")} className="group flex flex-col items-end">
      {edits ? (
        <form
          className="w-full max-w-[85%] space-y-2"
          onSubmit={(event) => {
            event.preventDefault();
            setEdits(false);
            acts.edit(message, text.trim());
          }}
        >
          <textarea
            value={text}
            onChange={(event) => setText(event.target.value)}
            rows={Math.min(8, text.split("\n").length + 1)}
            aria-label={t("chat.message")}
            className="w-full rounded-lg border border-edge bg-raised px-4 py-2.5 text-base"
          />
          <div className="flex justify-end gap-2">
            <Button size="sm" onClick={() => setEdits(false)}>
              {t("do.cancel")}
            </Button>
            <Button size="sm" variant="primary" type="submit" disabled={!text.trim()}>
              {t("chat.edit_send")}
            </Button>
          </div>
        </form>
      ) : (
        <div className="max-w-[85%] whitespace-pre-wrap break-words rounded-lg bg-hover px-4 py-2.5 text-base leading-relaxed">
          {message.content}
        </div>
      )}
      {!!files.length && <p className="mt-1 text-muted text-xs">{files.map((one) => one.filename).join(", ")}</p>}
      {!edits && (
        <Bar>
          <Branches message={message} siblings={siblings} acts={acts} />
          <Button
            variant="ghost"
            size="icon-sm"
            aria-label={t("chat.edit")}
            title={t("chat.edit")}
            disabled={busy}
            onClick={() => {
              setText(message.content);
              setEdits(true);
            }}
          >
            <Pencil aria-hidden />
          </Button>
        </Bar>
      )}
    </article>
  );
}

function AnswerMessage({ message, siblings, acts, busy }: Props) {
  const t = useTexts();
  const live = useAnswers((answers) => answers.all[message.id]);
  const going = live !== undefined && (live.state === "streaming" || live.state === "dropped");
  const shown = live && (going || message.state === "streaming") ? live : null;
  const text = shown?.text ?? message.content;
  const citations = shown?.citations ?? citationsOf(message);
  const grey = shown?.unsupported ?? unsupportedOf(message);
  const proposals = (shown?.proposals ?? proposalsOf(message)) as Asked[];
  const state = shown ? shown.state : message.state;
  const refused = shown?.refused ?? refusedOf(message);
  return (
    <article aria-label={t("chat.assistant")} aria-busy={going} className="group">
      {text && (
        <div className={refused ? "text-muted" : undefined}>
          <Markdown text={text} citations={citations} grey={grey} streaming={going} onCitation={acts.open} />
        </div>
      )}
      {going && live && <Progress answer={live} />}
      {(state === "failed" || live?.error) && (
        <Failure error={live?.error ?? new Error()} retry={() => acts.retry(message)}>
          {!live?.error && <span>{t("chat.failed")}</span>}
        </Failure>
      )}
      {state === "cancelled" && <p className="mt-2 text-muted">{t("chat.cancelled")}</p>}
      {proposals.map((one) => (
        <div key={one.id} className="mt-3">
          <ApprovalCard approval={one} />
        </div>
      ))}
      {!going && <Sources citations={citations} open={acts.open} />}
      {!going && !!grey.length && !refused && <p className="mt-2 text-muted text-xs">{t("chat.unsupported_short")}</p>}
      {!!shown?.dropped.length && (
        <p className="mt-2 text-muted text-xs">{t("chat.dropped", { what: shown.dropped.join(", ") })}</p>
      )}
      {!going && (
        <Bar>
          <Branches message={message} siblings={siblings} acts={acts} />
          <Button
            variant="ghost"
            size="icon-sm"
            aria-label={t("do.copy")}
            title={t("do.copy")}
            onClick={() => void navigator.clipboard.writeText(text)}
          >
            <Copy aria-hidden />
          </Button>
          <Button
            variant="ghost"
            size="icon-sm"
            aria-label={t("chat.retry")}
            title={t("chat.retry")}
            disabled={busy}
            onClick={() => acts.retry(message)}
          >
            <RotateCcw aria-hidden />
          </Button>
          {message.model && <span className="px-1 text-muted text-xs">{message.model}</span>}
        </Bar>
      )}
    </article>
  );
}

function Progress({ answer }: { answer: Answer }) {
  const t = useTexts();
  if (answer.state === "dropped") {
    return (
      <p role="status" className="mt-2 text-waits">
        {t("chat.reconnecting")}
      </p>
    );
  }
  if (answer.text) {
    return null;
  }
  return (
    <p role="status" className="flex items-center gap-2 text-base text-muted leading-7">
      <span aria-hidden className="size-1.5 animate-pulse rounded-full bg-accent" />
      {t(`chat.stage_${answer.stage ?? "searching"}`)}
    </p>
  );
}

/** Which documents the answer stands on, in one quiet line. */
function Sources({ citations, open }: { citations: Citation[]; open: (citation: Citation) => void }) {
  const t = useTexts();
  const places = new Map(citations.map((one) => [`${one.file_id} ${one.page}`, one]));
  if (!places.size) {
    return null;
  }
  return (
    <p className="mt-3 flex flex-wrap items-baseline gap-x-3 gap-y-1 text-muted text-xs">
      <span>{t("chat.sources")}</span>
      {[...places.values()].map((one) => (
        <button
          key={`${one.file_id} ${one.page}`}
          type="button"
          onClick={() => open(one)}
          className="max-w-64 truncate underline decoration-hairline underline-offset-4 hover:text-text hover:decoration-text"
        >
          {one.filename}, {t("chat.page", { page: one.page })}
        </button>
      ))}
    </p>
  );
}

function Branches({ message, siblings, acts }: Pick<Props, "message" | "siblings" | "acts">) {
  const t = useTexts();
  const at = siblings.indexOf(message.id);
  if (siblings.length < 2) {
    return null;
  }
  const go = (step: number) => {
    const sibling = siblings[at + step];
    if (sibling) {
      acts.branch(message, sibling);
    }
  };
  return (
    <span className="inline-flex items-center text-muted text-xs">
      <Button
        variant="ghost"
        size="icon-sm"
        aria-label={t("chat.branch_prev")}
        disabled={at <= 0}
        onClick={() => go(-1)}
      >
        <ChevronLeft aria-hidden />
      </Button>
      <span className="sr-only">{t("chat.branch", { n: at + 1, m: siblings.length })}</span>
      <span aria-hidden>
        {at + 1}/{siblings.length}
      </span>
      <Button
        variant="ghost"
        size="icon-sm"
        aria-label={t("chat.branch_next")}
        disabled={at >= siblings.length - 1}
        onClick={() => go(1)}
      >
        <ChevronRight aria-hidden />
      </Button>
    </span>
  );
}

function Bar({ children }: { children: React.ReactNode }) {
  return (
    <div
      className={cn(
        "mt-1 flex h-8 items-center gap-0.5 text-muted opacity-0 transition-opacity duration-150 focus-within:opacity-100 group-hover:opacity-100 group-last/list:opacity-100 pointer-coarse:h-10 pointer-coarse:opacity-100",
      )}
    >
      {children}
    </div>
  );
}
