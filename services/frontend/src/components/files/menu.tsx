"use client";

import { Download, Ellipsis, MessageSquare, Pencil, Tag, Trash2 } from "lucide-react";
import { useRouter } from "next/navigation";
import { type FormEvent, useState } from "react";
import type { Schemas } from "@/api/types";
import { address } from "@/lib/api";
import { useTexts } from "@/lib/texts";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";
import { Field, Input } from "../ui/input";
import { Menu, MenuItem, MenuSeparator } from "../ui/menu";
import { useFileActions } from "./actions";

/** What one can do with a file. */
export function FileMenu({ file, gone }: { file: Schemas["File"]; gone?: () => void }) {
  const t = useTexts();
  const router = useRouter();
  const { change, remove } = useFileActions();
  const [asks, setAsks] = useState<"name" | "tags" | null>(null);
  const save = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const text = String(new FormData(event.currentTarget).get("text")).trim();
    const tags = text
      .split(",")
      .map((one) => one.trim())
      .filter(Boolean);
    setAsks(null);
    await change(file, asks === "name" ? { filename: text } : { tags });
  };
  return (
    <>
      <Menu
        trigger={
          <Button variant="ghost" size="icon-sm" aria-label={`${t("do.more_menu")}: ${file.filename}`}>
            <Ellipsis aria-hidden />
          </Button>
        }
      >
        <MenuItem onSelect={() => router.push(`/chat?file=${file.id}`)}>
          <MessageSquare aria-hidden />
          {t("files.ask")}
        </MenuItem>
        <MenuItem asChild>
          <a href={address(`/api/v1/files/${file.id}/content`)} download={file.filename}>
            <Download aria-hidden />
            {t("do.download")}
          </a>
        </MenuItem>
        <MenuItem onSelect={() => setAsks("name")}>
          <Pencil aria-hidden />
          {t("do.rename")}
        </MenuItem>
        <MenuItem onSelect={() => setAsks("tags")}>
          <Tag aria-hidden />
          {t("files.tags")}
        </MenuItem>
        <MenuSeparator />
        <MenuItem
          className="text-failed"
          onSelect={() => {
            void remove(file);
            gone?.();
          }}
        >
          <Trash2 aria-hidden />
          {t("do.delete")}
        </MenuItem>
      </Menu>
      <Dialog
        open={asks !== null}
        onOpenChange={() => setAsks(null)}
        title={t(asks === "tags" ? "files.tags" : "files.rename_title")}
      >
        <form onSubmit={save} className="space-y-4">
          <Field label={t(asks === "tags" ? "files.tags_hint" : "files.name")}>
            <Input
              name="text"
              required={asks === "name"}
              maxLength={asks === "name" ? 255 : 2500}
              defaultValue={asks === "name" ? file.filename : file.tags.join(", ")}
            />
          </Field>
          <div className="flex justify-end">
            <Button type="submit" variant="primary">
              {t("do.save")}
            </Button>
          </div>
        </form>
      </Dialog>
    </>
  );
}
