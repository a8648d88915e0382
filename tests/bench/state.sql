-- What a database looks like after a run: rows by kind, and a sum over the ids that the run made
--
-- Two contestants that made the same change have the same state. Only the instants may differ.
select
    (select count(*) from broadcast_messages) as messages,
    (select count(*) from sequence_contacts where status = 'completed') as completed,
    (select count(*) from sequence_contacts where status = 'active') as active,
    (
        select coalesce(sum(hashtextextended(concat(
            m.id, m.device_id, m.user_id, m.sequence_id, m.sequence_stepid, m.recipient_phone, m.recipient_name,
            m.message_type, m.content, m.media_url, m.status
        ), 0)), 0)::text
        from broadcast_messages as m
    ) as message_sum,
    (
        select coalesce(sum(hashtextextended(concat(
            c.id, c.status, c.current_step, c.current_trigger, c.processing_device_id, c.assigned_device_id,
            c.sequence_stepid, c.contact_phone, c.contact_name, c.user_id, c.last_error
        ), 0)), 0)::text
        from sequence_contacts as c
    ) as contact_sum;
