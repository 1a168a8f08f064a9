"""Bugs of opt-ins, and of messages that were refused for good and arrived."""

from .mutant import Mutant, in_file

OPT_IN = "tests/contract/test_opt_in.py::"
STORY = "tests/contract/test_one_story.py::"

MUTANTS: tuple[Mutant, ...] = (
    *in_file(
        "store/lua/accept/opted_in.lua",
        (
            "return is_consent(cause.code) and (not",
            "return (not",
            "An opt-in lifts consent alone.",
            f"{OPT_IN}test_an_opt_in_lifts_nothing_but_consent[fakeredis]",
        ),
        (
            "if not ahead or ahead <= 0 then",
            "if true then",
            "An opt-in dated before the opt-out lifts nothing.",
            f"{OPT_IN}test_an_opt_in_dated_before_the_opt_out_lifts_nothing",
        ),
        (
            "ahead * 1000 > LATE and",
            "ahead * 1000 >= LATE and",
            "Up to five minutes apart a person decides.",
            f"{OPT_IN}test_an_opt_in_dated_before_the_opt_out_lifts_nothing",
        ),
        (
            ' and is_clock_right(event) and "after"',
            ' and "after"',
            "A clock that may be behind makes no opt-in too old.",
            f"{OPT_IN}test_an_opt_in_that_only_its_own_late_clock_dates_before_the_opt_out_is_a_doubt[fakeredis]",
        ),
        (
            'local is_at_one = is_standing(hget(suppressions, rid .. "@"))',
            "local is_at_one = false",
            "Consent withdrawn at one merchant is in doubt where the opt-in names none.",
            f"{OPT_IN}test_an_opt_in_without_a_merchant_leaves_what_was_withdrawn_at_one_to_a_person[fakeredis]",
        ),
        (
            "    if is_withdrawn(cause) then\n",
            "    if false then\n",
            "Consent withdrawn from all is in doubt where the opt-in names a merchant.",
            f"{OPT_IN}test_an_opt_in_at_a_merchant_leaves_what_was_withdrawn_from_all_to_a_person[fakeredis]",
        ),
        (
            'local field, is_unsure, is_older = event.m == "" and rid or rid .. "@" .. event.m,',
            "local field, is_unsure, is_older = rid,",
            "An opt-in lifts what was withdrawn at its merchant.",
            f"{OPT_IN}test_an_opt_in_lifts_the_consent_withdrawn_at_its_merchant",
        ),
        (
            "  note_delivery(event.place)\n",
            "",
            "Each opt-in counts once.",
            f"{OPT_IN}test_each_opt_in_counts_once[fakeredis]",
        ),
        (
            '    elseif is_older and event.outcome == "opted_in" then\n      event.outcome = "superseded"\n',
            "",
            "The outcome says what holds for all recipients.",
            f"{OPT_IN}test_the_outcome_of_an_opt_in_says_what_holds_for_all_of_its_recipients[fakeredis]",
        ),
    ),
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
