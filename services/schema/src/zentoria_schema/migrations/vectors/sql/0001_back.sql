-- Back to nothing: every table and function of 0001. The extension stays, for it may not be ours.
drop table chat_history_embeddings, document_embeddings, embedding_models;
drop function use_embedding_model(text, text, integer), embedding_refuse_retired(), zentoria_user_id();
