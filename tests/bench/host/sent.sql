update broadcast_messages set status = 'sent', sent_at = now() where id = md5('pending ' || nextval('host_work')::text)::uuid;
