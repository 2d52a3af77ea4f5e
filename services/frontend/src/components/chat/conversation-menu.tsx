"use client";

import { useQueryClient } from "@tanstack/react-query";
import { Download, Ellipsis, Pencil, Trash2 } from "lucide-react";
import { usePathname, useRouter } from "next/navigation";
import { type FormEvent, useState } from "react";
import type { Schemas } from "@/api/types";
import { ApiError, address, call } from "@/lib/api";
import { useTexts } from "@/lib/texts";
import { useToasts } from "@/lib/toast";
import { Button } from "../ui/button";
import { Dialog } from "../ui/dialog";
import { Field, Input } from "../ui/input";
import { Menu, MenuItem, MenuSeparator } from "../ui/menu";

/** What one can do with a conversation. */
export function ConversationMenu({ conversation }: { conversation: Schemas["Conversation"] }) {
  const t = useTexts();
  const client = useQueryClient();
  const router = useRouter();
  const path = usePathname();
  const [asks, setAsks] = useState<"name" | "delete" | null>(null);
  const where = `/api/v1/conversations/${conversation.id}`;
  const title = conversation.title || t("chat.untitled");
  const act = async (what: () => Promise<unknown>) => {
    setAsks(null);
    try {
      await what();
    } catch (error) {
      useToasts.getState().show(error instanceof ApiError && error.detail ? error.detail : t("error.title"));
    }
    await client.invalidateQueries({ queryKey: ["conversations"] });
  };
  const rename = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget).get("title"));
    void act(() => call("PATCH", where, { body: { title: name } }));
  };
  const remove = () =>
    act(async () => {
      await call("DELETE", where);
      if (path === `/chat/${conversation.id}`) {
        router.push("/chat");
      }
    });
  return (
    <>
      <Menu
        trigger={
          <Button variant="ghost" size="icon-sm" aria-label={`${t("do.more_menu")}: ${title}`}>
            <Ellipsis aria-hidden />
          </Button>
        }
      >
        <MenuItem onSelect={() => setAsks("name")}>
          <Pencil aria-hidden />
          {t("do.rename")}
        </MenuItem>
        <MenuItem asChild>
          <a href={address(`${where}/export`, { format: "markdown" })} download>
            <Download aria-hidden />
            {t("do.export")}
          </a>
        </MenuItem>
        <MenuSeparator />
        <MenuItem className="text-failed" onSelect={() => setAsks("delete")}>
          <Trash2 aria-hidden />
          {t("do.delete")}
        </MenuItem>
      </Menu>
      <Dialog open={asks === "name"} onOpenChange={() => setAsks(null)} title={t("chat.rename_title")}>
        <form onSubmit={rename} className="space-y-4">
          <Field label={t("settings.name")}>
            <Input name="title" required maxLength={200} defaultValue={conversation.title} />
          </Field>
          <Button type="submit" variant="primary">
            {t("do.save")}
          </Button>
        </form>
      </Dialog>
      <Dialog
        open={asks === "delete"}
        onOpenChange={() => setAsks(null)}
        title={t("chat.delete_title")}
        description={t("chat.delete_text")}
      >
        <div className="flex justify-end gap-2">
          <Button onClick={() => setAsks(null)}>{t("do.cancel")}</Button>
          <Button variant="danger" onClick={() => void remove()}>
            {t("do.delete")}
          </Button>
        </div>
      </Dialog>
    </>
  );
}
