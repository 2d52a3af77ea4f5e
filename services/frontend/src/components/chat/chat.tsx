"use client";

import { useQueryClient } from "@tanstack/react-query";
import { History } from "lucide-react";
import { usePathname, useRouter, useSearchParams } from "next/navigation";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { Schemas } from "@/api/types";
import { ApiError, call } from "@/lib/api";
import { useList, useOne } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { useWide } from "@/lib/wide";
import { Beside } from "../document/document";
import type { Mark } from "../document/pdf";
import { Failure, Loading } from "../states";
import { Button } from "../ui/button";
import { Sheet } from "../ui/dialog";
import { type Choice, Composer } from "./composer";
import { ConversationMenu } from "./conversation-menu";
import { type Attached, useDrafts } from "./drafts";
import { Finder } from "./finder";
import { type Acts, MessageView } from "./messages";
import { type Citation, type Message, pathOf } from "./model";
import { follow, stop, useAnswers } from "./stream";
import { Welcome } from "./welcome";

const NEW = "new";
const TITLE_LENGTH = 60;

/** A conversation, or the beginning of one; beside it the document that a citation opened. */
export function Chat() {
  const t = useTexts();
  const router = useRouter();
  const client = useQueryClient();
  const params = useSearchParams();
  const id = usePathname().split("/")[2] || null;
  const [choice, setChoice] = useState<Choice>({ documents: "auto", model: "" });
  const [chosen, setChosen] = useState<Record<string, string>>({});
  const [sent, setSent] = useState<Message | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [mark, setMark] = useState<Mark>();
  const [history, setHistory] = useState(false);
  const key = id ?? NEW;

  const conversation = useOne<Schemas["Conversation"]>(
    ["conversations", "one", id],
    `/api/v1/conversations/${id}`,
    {},
    id !== null,
  );
  const list = useList<Message>(
    ["conversations", "messages", id],
    `/api/v1/conversations/${id}/messages`,
    { limit: 200 },
    id !== null,
  );
  const { hasNextPage, fetchNextPage, isFetchingNextPage } = list;
  useEffect(() => {
    if (hasNextPage && !isFetchingNextPage) {
      void fetchNextPage();
    }
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);
  const path = useMemo(() => pathOf(list.data ?? [], chosen), [list.data, chosen]);
  const coming = useAnswers((answers) =>
    Object.values(answers.all).find(
      (one) => one.conversation === id && (one.state === "streaming" || one.state === "dropped"),
    ),
  );
  const busy = coming !== undefined || sent !== null;

  // What was coming when the page was left, or was begun elsewhere, is taken up again.
  useEffect(() => {
    const last = path.at(-1)?.message;
    if (id && last?.role === "assistant" && last.state === "streaming") {
      follow(client, id, last.id);
    }
  }, [client, id, path]);

  const ask = useCallback(
    async (body: Record<string, unknown>, content: string) => {
      setError(null);
      setSent({
        id: "sent",
        number: 0,
        role: "user",
        state: "complete",
        content,
        parts: [],
        sources: [],
        attributes: {},
        model: null,
        created_at: new Date().toISOString(),
      });
      let where = id;
      try {
        if (where === null) {
          const title = content.length > TITLE_LENGTH ? `${content.slice(0, TITLE_LENGTH).trimEnd()}…` : content;
          const made = await call<Schemas["Conversation"]>("POST", "/api/v1/conversations", {
            body: { title: title.replace(/[\u0000-\u001f\u007f]+/g, " ") },
          });
          where = made.id;
        }
        const given = await call<{ message_id: string; answer_id: string }>(
          "POST",
          `/api/v1/conversations/${where}/answers`,
          { body },
        );
        useDrafts.getState().put(key, { text: "", files: [] });
        follow(client, where, given.answer_id);
      } catch (reason) {
        setError(reason);
        if (!(reason instanceof ApiError)) {
          throw reason;
        }
      } finally {
        await client.invalidateQueries({ queryKey: ["conversations"] });
        setSent(null);
        if (where !== null && id === null) {
          router.replace(`/chat/${where}`, { scroll: false });
        }
      }
    },
    [client, id, key, router],
  );
  const base = useMemo(() => ({ documents: choice.documents, ...(choice.model && { model: choice.model }) }), [choice]);
  const send = (text: string, files: Attached[]) => {
    const last = path.at(-1)?.message;
    const parent = last?.role === "assistant" && last.state !== "streaming" ? { parent: last.id } : {};
    const attachments = files.length ? { attachments: files.map((one) => one.id) } : {};
    void ask({ ...base, ...parent, ...attachments, content: text }, text);
  };
  const show = useCallback((citation: Citation) => {
    setMark({ page: citation.page, boxes: citation.boxes ?? [] });
    const query = new URLSearchParams({
      doc: citation.file_id,
      page: String(citation.page),
      v: String(citation.version),
    });
    window.history.pushState(null, "", `${window.location.pathname}?${query}`);
  }, []);
  const acts: Acts = useMemo(
    () => ({
      edit: (message, text) =>
        void ask(
          { ...base, content: text, ...(message.parent_id ? { parent: message.parent_id } : { root: true }) },
          text,
        ),
      retry: (message) => {
        const before = path[path.findIndex((one) => one.message.id === message.id) - 1]?.message;
        void ask({ ...base, retry_of: message.id }, before?.content ?? "");
      },
      branch: (message, sibling) => setChosen((now) => ({ ...now, [message.parent_id ?? ""]: sibling })),
      open: show,
    }),
    [ask, base, path, show],
  );
  const doc = params.get("doc");
  const close = () => window.history.pushState(null, "", window.location.pathname);

  const messages =
    path.length || sent ? (
      <Scroll follow={coming?.text.length ?? 0} count={path.length + (sent ? 1 : 0)}>
        {path.map(({ message, siblings }) => (
          <MessageView key={message.id} message={message} siblings={siblings} acts={acts} busy={busy} />
        ))}
        {sent && <MessageView message={sent} siblings={[]} acts={acts} busy />}
        {error ? <Failure error={error} /> : null}
      </Scroll>
    ) : null;
  return (
    <div className="flex min-h-0 grow">
      <div className="flex min-w-0 grow flex-col">
        <header className="flex h-14 shrink-0 items-center gap-1 border-b px-2 md:px-4">
          <h1 className="min-w-0 grow truncate px-2 font-semibold text-base">
            {conversation.data ? conversation.data.title || t("chat.untitled") : t("chat.title")}
          </h1>
          <Button
            variant="ghost"
            size="icon-sm"
            aria-label={t("chat.history")}
            title={t("chat.history")}
            onClick={() => setHistory(true)}
          >
            <History aria-hidden />
          </Button>
          {conversation.data && <ConversationMenu conversation={conversation.data} />}
        </header>
        {list.error ? (
          <div className="mx-auto w-full max-w-3xl grow px-6 py-4">
            <Failure error={list.error} retry={() => void list.refetch()} />
          </div>
        ) : id !== null && list.isPending && !messages ? (
          <div className="grow">
            <Loading />
          </div>
        ) : (
          (messages ?? (
            <div className="min-h-0 grow overflow-y-auto">
              <Welcome
                fileId={params.get("file")}
                put={(text, files) => useDrafts.getState().put(key, { text, files })}
              />
              {error ? (
                <div className="mx-auto max-w-3xl px-6">
                  <Failure error={error} />
                </div>
              ) : null}
            </div>
          ))
        )}
        <Composer
          draftKey={key}
          busy={busy}
          choice={choice}
          onChoice={setChoice}
          onSend={send}
          onStop={() => coming && id && void stop(id, coming.id)}
        />
      </div>
      {doc && (
        <Side close={close} title={t("files.preview")}>
          <Beside
            key={doc}
            fileId={doc}
            version={Number(params.get("v")) || undefined}
            page={Number(params.get("page")) || undefined}
            mark={mark}
            close={close}
          />
        </Side>
      )}
      <Sheet open={history} onOpenChange={setHistory} title={t("chat.history")} side="left">
        <Finder done={() => setHistory(false)} />
      </Sheet>
    </div>
  );
}

/** Beside the chat on a large screen; from below on a small one. Esc closes it. */
function Side({ close, title, children }: { close: () => void; title: string; children: React.ReactNode }) {
  const wide = useWide();
  useEffect(() => {
    const pressed = (event: KeyboardEvent) =>
      event.key === "Escape" && !document.querySelector('[role="dialog"]') && close();
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  });
  if (wide) {
    return (
      <aside aria-label={title} className="flex w-[44%] min-w-80 shrink-0 animate-slide flex-col border-l">
        {children}
      </aside>
    );
  }
  return (
    <Sheet open onOpenChange={close} title={title} side="bottom">
      {children}
    </Sheet>
  );
}

/** Messages, kept at their end while an answer comes, unless one has scrolled up to read. */
function Scroll({ follow: length, count, children }: { follow: number; count: number; children: React.ReactNode }) {
  const t = useTexts();
  const place = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new message brings one to the end
  useEffect(() => {
    atEnd.current = true;
    place.current?.scrollTo({ top: place.current.scrollHeight });
  }, [count]);
  useEffect(() => {
    const area = place.current;
    const inside = area?.firstElementChild;
    if (!area || !inside) {
      return;
    }
    const watch = new ResizeObserver(() => atEnd.current && area.scrollTo({ top: area.scrollHeight }));
    watch.observe(inside);
    return () => watch.disconnect();
  }, []);
  return (
    <div
      ref={place}
      tabIndex={0}
      role="region"
      aria-label={t("chat.title")}
      data-length={length}
      className="min-h-0 grow overflow-y-auto"
      onScroll={(event) => {
        const area = event.currentTarget;
        atEnd.current = area.scrollHeight - area.scrollTop - area.clientHeight < 80;
      }}
    >
      <div className="mx-auto max-w-3xl space-y-6 px-4 py-6 md:px-6">{children}</div>
    </div>
  );
}
