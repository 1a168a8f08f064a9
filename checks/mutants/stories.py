"""Bugs of messages that were refused for good and arrived."""

from .mutant import Mutant, in_file

STORY = "tests/contract/test_one_story.py::"

MUTANTS: tuple[Mutant, ...] = (
    *in_file(
        "store/lua/accept/disprove.lua",
        (
            'return event.ch == "sms" and not is_consent(event.code)',
            "return not is_consent(event.code)",
            "A server or the post that takes a message confirms no mailbox.",
            f"{STORY}test_a_bounce_after_the_arrival_suppresses",
        ),
        (
            'return event.ch == "sms" and not is_consent(event.code)',
            'return event.ch == "sms"',
            "Consent that is withdrawn after the arrival refuses.",
            f"{STORY}test_consent_that_is_withdrawn_after_the_arrival_suppresses",
        ),
        (
            "return cause.d == event.delivery and not is_consent(cause.code)",
            "return not is_consent(cause.code)",
            "An arrival lifts a verdict only where it has no other evidence.",
            f"{STORY}test_a_verdict_with_other_evidence_stays_and_nobody_is_told_that_it_recovered[fakeredis]",
        ),
        (
            "return cause.d == event.delivery and not is_consent(cause.code)",
            "return cause.d == event.delivery",
            "An arrival never lifts consent.",
            f"{STORY}test_an_arrival_never_lifts_consent[fakeredis]",
        ),
        (
            '{ event.rid, event.rid .. "@" .. merchant }) do',
            "{ event.rid }) do",
            "An arrival lifts a verdict that stands at its merchant.",
            f"{STORY}test_a_text_that_arrives_lifts_the_verdict_at_its_merchant[fakeredis]",
        ),
        (
            'if not is_suppressed and record.s ~= "held" then',
            "if not is_suppressed then",
            "An arrival lifts a provisional block.",
            f"{STORY}test_an_arrival_lifts_a_provisional_block_and_takes_its_message_out_of_the_incident[fakeredis]",
        ),
        (
            'elseif event.ch ~= "sms" or event.rid == "" then\n    return is_suppressed\n',
            'elseif event.ch ~= "sms" or event.rid == "" then\n    return false\n',
            "An e-mail that was taken and came back does not recover.",
            f"{STORY}test_an_email_or_a_letter_that_was_taken_disproves_no_verdict",
        ),
    ),
    *in_file(
        "store/lua/accept/arrived.lua",
        (
            'record.e == "delivered" or record.e == "suppressed")',
            'record.e == "delivered")',
            "An arrival that changed nothing is a duplicate when it comes again.",
            f"{STORY}test_an_arrival_that_changed_nothing_is_a_duplicate_when_it_comes_again",
        ),
        (
            "    note_reached(event, event.rid) -- a later verdict on this text is disproved as well\n",
            "",
            "An arrival counts against a later verdict, also where its recipient stays refused.",
            f"{STORY}test_a_verdict_after_an_arrival_that_lifted_another_suppresses_nobody[fakeredis]",
        ),
    ),
    *in_file(
        "store/lua/accept/soft_bounces.lua",
        (
            "local confirm = not event.is_disproved and",
            "local confirm =",
            "A report after the arrival of its text confirms nothing.",
            f"{STORY}test_a_report_after_the_arrival_of_its_text_confirms_nothing[fakeredis]",
        ),
    ),
)
