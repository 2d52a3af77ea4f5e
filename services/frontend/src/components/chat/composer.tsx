"use client";

import { ArrowUp, BookOpen, Paperclip, Square, X } from "lucide-react";
import { type ClipboardEvent, type KeyboardEvent, useCallback, useEffect, useRef } from "react";
import { cn } from "@/lib/cn";
import { useOne } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { FileState } from "../files/state";
import { Uploads } from "../files/uploads";
import { useDrop, useUpload } from "../files/use-upload";
import { Button } from "../ui/button";
import { type Attached, NONE, useDrafts } from "./drafts";

export type Documents = "auto" | "always" | "never";
export type Choice = { documents: Documents; model: string };

type Props = {
  draftKey: string;
  busy: boolean;
  choice: Choice;
  onChoice: (choice: Choice) => void;
  onSend: (text: string, files: Attached[]) => void;
  onStop: () => void;
};

const LINES = 8;
const LINE_PX = 24;

/** Where one writes. It grows to eight lines, and takes files by drop, paste and button. */
export function Composer({ draftKey, busy, choice, onChoice, onSend, onStop }: Props) {
  const t = useTexts();
  const draft = useDrafts((drafts) => drafts.all[draftKey]) ?? NONE;
  const put = useDrafts((drafts) => drafts.put);
  const field = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const attach = useCallback(
    (id: string, file: File) => {
      const now = useDrafts.getState().all[draftKey] ?? NONE;
      put(draftKey, { ...now, files: [...now.files, { id, filename: file.name }] });
    },
    [draftKey, put],
  );
  const take = useUpload(attach);
  const drop = useDrop(take);
  const models = useOne<{ items?: { id: string }[]; data?: { id: string }[] }>(["models"], "/api/v1/models");
  const names = (models.data?.items ?? models.data?.data ?? []).map((one) => one.id);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the height is the text's
  useEffect(() => {
    const area = field.current;
    if (area) {
      area.style.height = "auto";
      area.style.height = `${Math.min(area.scrollHeight, LINES * LINE_PX + 8)}px`;
    }
  }, [draft.text]);
  useEffect(() => {
    if (matchMedia("(pointer: fine)").matches && draftKey) {
      field.current?.focus();
    }
  }, [draftKey]);

  const send = () => {
    const text = draft.text.trim();
    if (text && !busy) {
      onSend(text, draft.files);
    }
  };
  const pressed = (event: KeyboardEvent) => {
    if (
      event.key === "Enter" &&
      !event.shiftKey &&
      !event.nativeEvent.isComposing &&
      !matchMedia("(pointer: coarse)").matches
    ) {
      event.preventDefault();
      send();
    }
  };
  const pasted = (event: ClipboardEvent) => {
    if (event.clipboardData.files.length) {
      event.preventDefault();
      void take([...event.clipboardData.files]);
    }
  };
  return (
    <div className="mx-auto w-full max-w-3xl px-3 pb-3 md:px-6 md:pb-5">
      <Uploads />
      <div
        {...drop.handlers}
        className={cn(
          "rounded-lg border border-edge bg-raised focus-within:outline-2 focus-within:outline-accent focus-within:outline-offset-1",
          drop.over && "border-accent border-dashed",
        )}
      >
        {!!draft.files.length && (
          <ul aria-label={t("chat.attached")} className="flex flex-wrap gap-1.5 px-3 pt-3">
            {draft.files.map((one) => (
              <li
                key={one.id}
                className="flex max-w-full items-center gap-2 rounded-md border bg-surface pl-2.5 text-xs"
              >
                <span className="truncate font-medium">{one.filename}</span>
                <FileState file={one} />
                <Button
                  variant="ghost"
                  size="icon-sm"
                  aria-label={`${t("do.remove")}: ${one.filename}`}
                  onClick={() => put(draftKey, { ...draft, files: draft.files.filter((each) => each.id !== one.id) })}
                >
                  <X aria-hidden />
                </Button>
              </li>
            ))}
          </ul>
        )}
        <textarea
          ref={field}
          rows={1}
          value={draft.text}
          onChange={(event) => put(draftKey, { ...draft, text: event.target.value })}
          onKeyDown={pressed}
          onPaste={pasted}
          maxLength={100_000}
          aria-label={t("chat.message")}
          placeholder={drop.over ? t("chat.drop") : t("chat.placeholder")}
          className="block w-full resize-none bg-transparent px-3.5 pt-3 pb-1 text-base leading-6 outline-none placeholder:text-muted"
        />
        <div className="flex items-center gap-1 px-2 pb-2">
          <Button
            variant="ghost"
            size="icon-sm"
            aria-label={t("chat.attach")}
            title={t("chat.attach")}
            onClick={() => picker.current?.click()}
          >
            <Paperclip aria-hidden />
          </Button>
          <input
            ref={picker}
            type="file"
            multiple
            tabIndex={-1}
            aria-label={t("chat.attach")}
            className="sr-only"
            onChange={(event) => {
              void take([...(event.target.files ?? [])]);
              event.target.value = "";
            }}
          />
          <Chip
            label={t("chat.documents")}
            icon
            value={choice.documents}
            onChange={(value) => onChoice({ ...choice, documents: value as Documents })}
            options={(["auto", "always", "never"] as const).map((one) => [one, t(`chat.documents_${one}`)])}
          />
          {names.length > 1 && (
            <Chip
              label={t("chat.model")}
              value={choice.model}
              onChange={(model) => onChoice({ ...choice, model })}
              options={[["", t("chat.model_default")], ...names.map((one): [string, string] => [one, one])]}
            />
          )}
          <span className="grow" />
          {busy ? (
            <Button size="icon-sm" variant="primary" aria-label={t("chat.stop")} onClick={onStop}>
              <Square aria-hidden className="fill-current" />
            </Button>
          ) : (
            <Button
              size="icon-sm"
              variant="primary"
              aria-label={t("chat.send")}
              disabled={!draft.text.trim()}
              onClick={send}
            >
              <ArrowUp aria-hidden />
            </Button>
          )}
        </div>
      </div>
    </div>
  );
}

type ChipProps = {
  label: string;
  icon?: boolean;
  value: string;
  onChange: (value: string) => void;
  options: [string, string][];
};

function Chip({ label, icon, value, onChange, options }: ChipProps) {
  return (
    <label className="inline-flex h-8 min-w-0 items-center gap-1.5 rounded-md px-2 text-muted text-xs hover:bg-hover has-focus-visible:outline-2 has-focus-visible:outline-accent pointer-coarse:h-10">
      {icon && <BookOpen aria-hidden className="size-4 shrink-0 stroke-[1.5]" />}
      <span className="sr-only">{label}</span>
      <select
        value={value}
        onChange={(event) => onChange(event.target.value)}
        className="field-sizing-content max-w-40 truncate bg-transparent outline-none"
      >
        {options.map(([one, text]) => (
          <option key={one} value={one}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}
