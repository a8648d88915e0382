-- Who plays in the demo: two users, twelve devices, three sequences
--
-- Welcome chains on to Loyalty, as the next_trigger of its last step is Loyalty's entry trigger. Hello has
-- Welcome's entry trigger, but is another user's. The devices' numbers are kept free for fiction.
--
-- Parameters:
--   alice  uuid  the first user: eight devices, Welcome and Loyalty
--   bob    uuid  the second: four devices, Hello
-- Locks: none that anybody waits for; new rows
\if :{?alice} \else \set alice 'a11ce000-0000-4000-8000-000000000001' \endif
\if :{?bob} \else \set bob 'b0b00000-0000-4000-8000-000000000002' \endif
with new_user as (
    insert into users (id)
    values (:'alice'::uuid), (:'bob'::uuid)
),

new_device as (
    insert into user_devices (id, user_id, device_name, phone, status)
    select
        md5('seqdev demo device ' || n)::uuid,
        case when n <= 8 then :'alice'::uuid else :'bob'::uuid end,
        case when n <= 8 then 'alice-' || n else 'bob-' || n - 8 end,
        '120255501' || lpad(n::text, 2, '0'),
        'online'
    from generate_series(1, 12) as n
),

new_sequence as (
    insert into sequences (id, user_id, name, niche)
    values
        (md5('seqdev demo Welcome')::uuid, :'alice'::uuid, 'Welcome', 'tea'),
        (md5('seqdev demo Loyalty')::uuid, :'alice'::uuid, 'Loyalty', 'tea'),
        (md5('seqdev demo Hello')::uuid, :'bob'::uuid, 'Hello', 'books')
)

insert into sequence_steps (sequence_id, day_number, trigger, next_trigger, is_entry_point, content)
values
    (md5('seqdev demo Welcome')::uuid, 1, 'WARM', 'WARM_2', true, 'Welcome! Here is our tea of the week.'),
    (md5('seqdev demo Welcome')::uuid, 2, 'WARM_2', 'WARM_3', false, 'How do you like your tea?'),
    (md5('seqdev demo Welcome')::uuid, 3, 'WARM_3', 'LOYAL', false, 'Your first order ships free.'),
    (md5('seqdev demo Loyalty')::uuid, 1, 'LOYAL', 'LOYAL_2', true, 'Thank you for staying with us.'),
    (md5('seqdev demo Loyalty')::uuid, 2, 'LOYAL_2', '', false, 'A pot on the house, whenever you come by.'),
    (md5('seqdev demo Hello')::uuid, 1, 'WARM', '', true, 'Hello! The new books are in.');
