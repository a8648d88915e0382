\set n random(0, :people - 1)
update sequence_contacts set processing_device_id = assigned_device_id, processing_started_at = now() where id = md5('contact ' || :n::text || ' 3')::uuid;
update sequence_contacts set status = 'completed', completed_at = now(), processing_started_at = null where id = md5('contact ' || :n::text || ' 3')::uuid;
