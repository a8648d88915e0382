-- What the error of a message that was not sent tells: the causes, how they are told, what they let hope for
--
-- The first pattern that fits tells the cause. It is looked for, without regard to case, in the message's status (unless
-- that is failed), a colon, and its error_message. The texts are those of workers in the field. What may mean that the
-- person has the message all the same stands before what surely does not.
--
-- Parameters:
--   restricted  text  a regular expression: the errors of a device that may open no new chats; empty: none
-- Row:
--   causes           text  text[]: the cause
--   cause_patterns   text  text[]: a regular expression
--   cause_outlooks   text  text[]: again: surely not sent, and a later try may succeed; unsure: may have been sent;
--                          never: no try succeeds until somebody has corrected something
-- Locks: none
\if :{?restricted} \else \set restricted '(^|[^0-9])463([^0-9]|$)|reach.?out|time.?lock|restricted' \endif
select
    coalesce(array_agg(known.cause order by known.place), '{}')::text as causes,
    coalesce(array_agg(known.pattern order by known.place), '{}')::text as cause_patterns,
    coalesce(array_agg(known.outlook order by known.place), '{}')::text as cause_outlooks
from (
    values
        (1, 'cancelled', 'never', '^cancelled'),
        (
            2, 'not_on_whatsapp', 'never',
            'not (registered )?on whatsapp|not registered|invalid (recipient|jid|phone|number)'
        ),
        -- Error 463: an account that may open no new chats; those it has go on.
        (3, 'restricted', 'again', nullif(:'restricted'::text, '')),
        (4, 'device_logged_out', 'again', 'logged.?out|not logged.?in|\mbanned\M|unauthori[sz]ed|\m401\M'),
        (5, 'expired', 'again', 'expired'),
        (
            6, 'content', 'never',
            'unsupported message|not yet implemented|invalid data url|base64|(empty|no) (message|content)'
        ),
        (7, 'media', 'again', 'download|upload|bad status|\mmedia\M'),
        (
            8, 'no_answer', 'unsure',
            'time.?d?.?out|deadline|cancel|disconnected before|\meof\M|connection reset|broken pipe'
        ),
        (
            9, 'device_offline', 'again',
            'offline|not (connected|available)|session.not.connected|reconnect|no worker|worker not found|queue full'
        )
) as known (place, cause, outlook, pattern)
\gset
