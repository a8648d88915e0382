\set n random(0, :people - 1)
\set d random(0, :devices - 1)
\set u :d % :users
insert into broadcast_messages (id, user_id, device_id, recipient_phone, recipient_name, content, status, scheduled_at, created_at) values (gen_random_uuid(), md5('user ' || :u::text)::uuid, md5('device ' || :d::text)::uuid, '6010' || lpad(:n::text, 8, '0'), 'Person', 'Words of a message', 'pending', now(), now());
