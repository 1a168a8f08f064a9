"""Planted bugs in what guards people: receipts, deadlines, incidents, breakers, imports, erasure, alarms."""

from checks.mutants.mutant import Mutant

RECEIVER = "tests/contract/test_receiver.py"
ACCEPT = "tests/contract/test_accept.py"
BRAKE = "tests/contract/test_brake.py"
BREAKERS = "tests/contract/test_breakers.py"
CLAIM = "tests/contract/test_claim.py"
LISTS = "tests/contract/test_lists.py"
PUMP = "tests/integration/test_pump.py"
NOTICES = "tests/integration/test_notices.py"

MUTANTS = (
    # receipts
    Mutant(
        file="receiver.py",
        old="lease=longest // _MILLISECOND",
        new="lease=longest // timedelta(seconds=1)",
        rule="A receiver holds an id for as long as its act may take.",
        tests=(f"{RECEIVER}::test_an_id_is_held_for_as_long_as_an_act_may_take",),
    ),
    Mutant(
        file="receiver.py",
        old="longest: timedelta = timedelta(minutes=5)",
        new="longest: timedelta = timedelta(milliseconds=5)",
        rule="Unless it names another time, a receiver holds an id for five minutes.",
        tests=(f"{RECEIVER}::test_an_id_is_held_for_as_long_as_an_act_may_take",),
    ),
    Mutant(
        file="receiver.py",
        old="except BaseException:",
        new="except Exception:",
        rule="An act that ends its process frees the id.",
        tests=(f"{RECEIVER}::test_an_act_that_failed_may_be_tried_again",),
    ),
    Mutant(
        file="store/receipts.py",
        old="self._client.set(self._keys.receipt(ident), _DONE, px=RECEIPT_KEPT)",
        new="self._client.set(self._keys.receipt(ident), _DONE, ex=RECEIPT_KEPT)",
        rule="An id is remembered for fourteen days.",
        tests=(f"{RECEIVER}::test_an_id_is_remembered_for_fourteen_days",),
    ),
    Mutant(
        file="store/lua/give_back.lua",
        old='if redis.call("GET", KEYS[1]) == holder then',
        new='if redis.call("EXISTS", KEYS[1]) == 1 then',
        rule="A receiver whose lease has passed on frees nobody else's id.",
        tests=(f"{RECEIVER}::test_a_late_failure_gives_back_only_what_is_its_own",),
    ),
    # a person's word at night
    Mutant(
        file="core/decide.py",
        old="if rule.quiet_hours is None or delivery.is_urgent:",
        new="if rule.quiet_hours is None:",
        rule="Run-now passes quiet hours.",
        tests=(f"{CLAIM}::test_run_now_passes_quiet_hours_and_a_late_retry_does_not",),
    ),
    Mutant(
        file="core/decide.py",
        old="    if out_of_quiet(now, rule.quiet_hours, zones, 0) == now:\n        return 0",
        new="    if out_of_quiet(now, rule.quiet_hours, zones, 0) >= now:\n        return 0",
        rule="A retry that is late into the night waits for the morning.",
        tests=(f"{CLAIM}::test_run_now_passes_quiet_hours_and_a_late_retry_does_not",),
    ),
    Mutant(
        file="store/lua/reschedule.lua",
        old="record.q, record.d = math.max(record.q or 0, 1), math.floor(now / 1000)",
        new="record.d = math.floor(now / 1000)",
        rule="What a person hurries is marked so, for quiet hours and pauses.",
        tests=(f"{CLAIM}::test_run_now_passes_quiet_hours_and_a_late_retry_does_not",),
    ),
    Mutant(
        file="store/lua/shared/gates.lua",
        old="if not is_any_paused or retry.record.q then",
        new="if not is_any_paused then",
        rule="Run-now passes a pause.",
        tests=(f"{CLAIM}::test_run_now_passes_a_pause_and_no_deadline",),
    ),
    Mutant(
        file="store/lua/shared/gates.lua",
        old="retry.record.x * 1000 < now and retry.record.q ~= 2",
        new="retry.record.x * 1000 < now and not retry.record.q",
        rule="Run-now sends nothing past its deadline.",
        tests=(f"{CLAIM}::test_run_now_passes_a_pause_and_no_deadline",),
    ),
    Mutant(
        file="worker/handover.py",
        old='delay=delay, note="quiet"',
        new='delay=delay // 1000, note="quiet"',
        rule="A retry that is late into the night waits for the morning.",
        tests=(f"{CLAIM}::test_run_now_passes_quiet_hours_and_a_late_retry_does_not",),
    ),
    # notices
    Mutant(
        file="worker/notices.py",
        old="taken = hand_over.batch[: handed.count]",
        new="taken = hand_over.batch",
        rule="A notice that its receiver refused is told again.",
        tests=(f"{NOTICES}::test_a_pipeline_that_refuses_and_a_target_that_takes_get_each_notice_once",),
    ),
    Mutant(
        file="worker/notices.py",
        old="if all(notice.id in receiver.taken for receiver in (people if notice.told else [pipeline]))",
        new="if any(notice.id in receiver.taken for receiver in (people if notice.told else [pipeline]))",
        rule="A notice ends once all who are to have it were told.",
        tests=(f"{NOTICES}::test_what_one_target_refuses_waits_for_it_alone",),
    ),
    Mutant(
        file="worker/notices.py",
        old="if all(notice.id in receiver.taken for receiver in (people if notice.told else [pipeline]))",
        new="if all(notice.id in receiver.taken for receiver in (people if notice.told else []))",
        rule="A notice that the pipeline refused still reaches it.",
        tests=(f"{NOTICES}::test_a_pipeline_that_refuses_and_a_target_that_takes_get_each_notice_once",),
    ),
    Mutant(
        file="worker/notices.py",
        old="if notice.id not in self.taken and (",
        new="if (",
        rule="Who has a notice is not told again while another has it not.",
        tests=(
            f"{NOTICES}::test_who_has_a_notice_is_not_told_again_while_another_is_at_it",
            f"{NOTICES}::test_a_pipeline_that_refuses_and_a_target_that_takes_get_each_notice_once",
        ),
    ),
    # what may_send says, and imports
    Mutant(
        file="store/suppressions.py",
        old="if theirs and theirs != self.fingerprint:",
        new="if theirs and not self.fingerprint:",
        rule="An import refuses hashes of another key.",
        tests=(
            "tests/contract/test_suppressions.py::test_hashes_of_another_key_are_refused_and_not_counted_as_imported",
        ),
    ),
    Mutant(
        file="store/lua/mark.lua",
        old="(not ends or ends > now) and",
        new="(not ends or ends) and",
        rule="An import takes the row of an entry that has ended.",
        tests=(f"{LISTS}::test_an_import_takes_the_row_of_an_entry_that_has_ended",),
    ),
    Mutant(
        file="store/lua/mark.lua",
        old="(not ends or ends > now) and",
        new="(not ends or ends >= now) and",
        rule="An entry ends at its end.",
        tests=(f"{LISTS}::test_an_import_takes_the_row_of_an_entry_that_has_ended",),
    ),
    Mutant(
        file="store/suppressions.py",
        old="found += blocks",
        new="found[:0] = blocks",
        rule="May_send names the block before the pause.",
        tests=(f"{LISTS}::test_a_block_is_named_before_a_pause",),
    ),
    Mutant(
        file="store/suppressions.py",
        old='key=lambda block: "incident" not in block[1]',
        new='key=lambda block: "incident" in block[1]',
        rule="May_send names an ordinary block before a provisional one.",
        tests=(f"{BRAKE}::test_an_ordinary_block_goes_before_a_provisional_one",),
    ),
    Mutant(
        file="store/lua/accept/outcomes.lua",
        old="if is_standing(raw) and (not found or found.incident) then",
        new="if is_standing(raw) and not found then",
        rule="An ordinary block of a merchant goes before a provisional one of all.",
        tests=(f"{BRAKE}::test_an_ordinary_block_goes_before_a_provisional_one",),
    ),
    Mutant(
        file="store/lua/accept/outcomes.lua",
        old="if is_standing(raw) and (not found or found.incident) then",
        new="if is_standing(raw) then",
        rule="An ordinary block of all goes before a provisional one of a merchant.",
        tests=(f"{BRAKE}::test_an_ordinary_block_goes_before_a_provisional_one",),
    ),
    Mutant(
        file="store/lua/shared/gates.lua",
        old="if suppressed[n] and is_standing(suppressed[n]) and not is_provisional(suppressed[n]) then",
        new="if suppressed[n] and n % 2 == 1 and is_standing(suppressed[n]) and not is_provisional(suppressed[n]) then",
        rule="A retry to somebody who is refused for good does not wait for an incident.",
        tests=(f"{BRAKE}::test_an_ordinary_block_goes_before_a_provisional_one",),
    ),
    # the brake
    Mutant(
        file="store/lua/accept/brake.lua",
        old="brake.z = not brake.k and now + REMEMBERED * limits.brake.within or nil",
        new='brake.z = now + math.max(REMEMBERED * limits.brake.within, limits.brake["for"])',
        rule="An open incident survives a sweep.",
        tests=(f"{BRAKE}::test_an_open_incident_outlasts_a_silent_weekend",),
    ),
    Mutant(
        file="store/lua/accept/brake.lua",
        old="local REMEMBERED = 30",
        new="local REMEMBERED = 3",
        rule="What is usual is remembered over a silent day.",
        tests=(f"{BRAKE}::test_what_is_usual_is_remembered_and_fades",),
    ),
    Mutant(
        file="store/lua/accept/brake.lua",
        old="0.9 * brake.u + 0.1 * brake.n",
        new="0.1 * brake.u + 0.9 * brake.n",
        rule="What is usual is an average, of which the newest window is a tenth.",
        tests=(f"{BRAKE}::test_what_is_usual_is_remembered_and_fades",),
    ),
    Mutant(
        file="store/lua/accept/brake.lua",
        old="0.9 ^ (passed - 1)",
        new="0.9 ^ passed",
        rule="Only windows without a suppression lower what is usual.",
        tests=(f"{BRAKE}::test_what_is_usual_is_remembered_and_fades",),
    ),
    Mutant(
        file="store/lua/accept/brake.lua",
        old="    if not brake.k then -- suppressions of an incident do not count as usual",
        new="    if true then",
        rule="What an incident did is not usual.",
        tests=(f"{BRAKE}::test_what_an_incident_did_is_not_usual",),
    ),
    Mutant(
        file="store/lua/resolve.lua",
        old="brake.k, brake.t, brake.z = now, 0, nil, nil, now + options.closed_cases",
        new="brake.k, brake.t = now, 0, nil, nil",
        rule="The brake of a closed incident is forgotten like its case.",
        tests=(f"{BRAKE}::test_an_open_incident_outlasts_a_silent_weekend",),
    ),
    # a provider that is down
    Mutant(
        file="store/lua/accept/breaker_answers.lua",
        old="elseif head.g > breaker.probe - fatal then",
        new="elseif head.g >= breaker.probe - fatal then",
        rule="One good probe of three does not close a breaker.",
        tests=(f"{BREAKERS}::test_two_of_three_probes_decide",),
    ),
    Mutant(
        file="store/lua/accept/breaker_answers.lua",
        old="if head.b >= fatal then",
        new="if head.b > fatal then",
        rule="Half of the probes that fail open a breaker again.",
        tests=(f"{BREAKERS}::test_two_of_three_probes_decide",),
    ),
    Mutant(
        file="store/lua/accept/breaker_answers.lua",
        old="breaker.factor ^ (head.n - 1)",
        new="breaker.factor ^ head.n",
        rule="A breaker that was closed opens for the base.",
        tests=(f"{BREAKERS}::test_after_a_close_the_next_opening_lasts_the_base",),
    ),
    Mutant(
        file="store/lua/shared/breakers.lua",
        old="head.s, head.u, head.n, head.p, head.g, head.b, head.m, head.q, head.r = nil, nil, nil, nil, nil, nil, nil, nil, now",
        new="head.s, head.u, head.p, head.g, head.b, head.m, head.q, head.r = nil, nil, nil, nil, nil, nil, nil, now",
        rule="After a close the next opening lasts the base.",
        tests=(f"{BREAKERS}::test_after_a_close_the_next_opening_lasts_the_base",),
    ),
    Mutant(
        file="store/lua/accept/breaker_answers.lua",
        old=" or (answered.c or 0) < (head.c or 0) then",
        new=" then",
        rule="What left before the breaker opened decides nothing afterwards.",
        tests=(f"{BREAKERS}::test_answers_to_what_left_before_decide_nothing_afterwards",),
    ),
    Mutant(
        file="store/lua/shared/provider_gate.lua",
        old="options.silence_is_good and head.p < breaker.probe then",
        new="options.silence_is_good then",
        rule="A round without a probe does not close a breaker.",
        tests=(f"{BREAKERS}::test_a_round_without_a_probe_does_not_close_the_breaker",),
    ),
    Mutant(
        file="store/lua/shared/provider_gate.lua",
        old="head.p, head.u, one.probes = breaker.probe, now + breaker.within, true",
        new="head.p, head.u, one.probes = breaker.probe, now + breaker.base, true",
        rule="A round of probes lasts as long as answers count.",
        tests=(f"{BREAKERS}::test_probes_that_nobody_answers_make_room_for_others",),
    ),
    Mutant(
        file="store/lua/shared/provider_gate.lua",
        old='    if head.s ~= "half" then\n      head.s,',
        new="    if true then\n      head.s,",
        rule="A further round of probes forgets no answer of the one before.",
        tests=(f"{BREAKERS}::test_answers_of_two_rounds_count_together",),
    ),
    Mutant(
        file="store/lua/shared/provider_gate.lua",
        old="local most = math.max(1, 1000 * per_ms)",
        new="local most = math.max(1, 60000 * per_ms)",
        rule="A provider's rate holds what may leave in one second.",
        tests=(f"{BREAKERS}::test_a_rate_binds_one_provider_and_the_others_go_on",),
    ),
    Mutant(
        file="store/lua/shared/provider_gate.lua",
        old="math.max(0, now - (head.t or now)) * per_ms",
        new="math.max(0, now - (head.t or 0)) * per_ms",
        rule="A provider's rate holds what may leave in one second.",
        tests=(f"{BREAKERS}::test_a_rate_binds_one_provider_and_the_others_go_on",),
        equivalent="l and t are written together: without t the bucket is full, and takes no more",
    ),
    # dates and limits
    Mutant(
        file="store/lua/accept.lua",
        old="local LATE = 5 * 60 * 1000",
        new="local LATE = 5 * 60",
        rule="A failure dated four minutes before the claim answers it.",
        tests=(
            f"{ACCEPT}::test_a_failure_dated_over_five_minutes_before_the_claim_speaks_of_an_earlier_send",
        ),
    ),
    Mutant(
        file="store/lua/accept.lua",
        old="local LATE = 5 * 60 * 1000",
        new="local LATE = 15 * 60 * 1000",
        rule="A failure dated six minutes before the claim speaks of an earlier send.",
        tests=(
            f"{ACCEPT}::test_a_failure_dated_over_five_minutes_before_the_claim_speaks_of_an_earlier_send",
        ),
    ),
    Mutant(
        file="store/lua/accept/failure.lua",
        old="event.at < event.record.c - LATE and is_clock_right",
        new="event.at < event.record.c + LATE and is_clock_right",
        rule="A failure dated just before the claim answers it.",
        tests=(
            f"{ACCEPT}::test_a_failure_dated_over_five_minutes_before_the_claim_speaks_of_an_earlier_send",
        ),
    ),
    Mutant(
        file="store/lua/accept/arrived.lua",
        old="clear_count(event, math.min(event.at or now, now))",
        new="clear_count(event, now)",
        rule="An arrival dated yesterday clears nothing of today.",
        tests=(f"{ACCEPT}::test_an_arrival_clears_what_came_before_it_and_no_more",),
    ),
    Mutant(
        file="store/lua/accept/arrived.lua",
        old='.by == "policy" and not known.m then',
        new='.by == "policy" then',
        rule="An arrival dated yesterday ends no pause of today.",
        tests=(f"{ACCEPT}::test_an_arrival_clears_what_came_before_it_and_no_more",),
    ),
    Mutant(
        file="store/lua/accept/outcomes.lua",
        old="if record.a >= limits.max_attempts or done >= #dues then",
        new="if done >= #dues then",
        rule="limits.max_attempts ends a rule that has more delays.",
        tests=(f"{ACCEPT}::test_the_limit_of_all_tries_ends_a_rule_that_has_more",),
    ),
    Mutant(
        file="store/lua/accept/outcomes.lua",
        old="if record.a >= limits.max_attempts or done >= #dues then",
        new="if record.a > limits.max_attempts or done >= #dues then",
        rule="limits.max_attempts is the number of the last try.",
        tests=(f"{ACCEPT}::test_the_limit_of_all_tries_ends_a_rule_that_has_more",),
    ),
    Mutant(
        file="store/lua/accept/outcomes.lua",
        old="record.n = math.min(record.a + #dues - done - 1, limits.max_attempts)",
        new="record.n = record.a + #dues - done - 1",
        rule="The last try that a record names is within limits.max_attempts.",
        tests=(f"{ACCEPT}::test_the_limit_of_all_tries_ends_a_rule_that_has_more",),
    ),
    Mutant(
        file="store/lua/accept/outcomes.lua",
        old="math.max(dues[done + 1], now + limits.min_delay)",
        new="dues[done + 1]",
        rule="The least delay holds where the clock has moved since the plan.",
        tests=(f"{ACCEPT}::test_the_least_delay_holds_where_the_clock_has_moved_since_the_plan",),
    ),
    # convictions
    Mutant(
        file="store/lua/accept/soft_bounces.lua",
        old="if soft and not confirmed then",
        new="if soft then",
        rule="A report that convicts is no soft bounce as well.",
        tests=(f"{ACCEPT}::test_a_report_that_convicts_is_no_soft_bounce_as_well",),
    ),
    Mutant(
        file="core/subject.py",
        old="identity(values[0], channel) if len(values) == 1 else None",
        new="identity(values[-1], channel) if values else None",
        rule="Of several culprits none is convicted.",
        tests=(f"{ACCEPT}::test_a_malformed_culprit_among_several_convicts_nobody_else",),
    ),
    Mutant(
        file="core/subject.py",
        old="is_address = isinstance(one, dict) or (isinstance(one, str) and bool(one.strip()))",
        new='is_address = isinstance(one, dict) or (isinstance(one, str) and one.startswith("+"))',
        rule="A malformed culprit counts beside a well-formed one.",
        tests=(f"{ACCEPT}::test_a_malformed_culprit_among_several_convicts_nobody_else",),
    ),
    # lists
    Mutant(
        file="store/cases.py",
        old='"first": first + released * step,',
        new='"first": first,',
        rule="A case of more than one call is released at one pace.",
        tests=(f"{LISTS}::test_a_release_in_groups_is_staggered_as_a_whole_and_passes_no_deadline",),
    ),
    Mutant(
        file="store/lua/resolve.lua",
        old="      due = due + options.step\n",
        new="",
        rule="Released messages leave at a pace.",
        tests=(f"{LISTS}::test_a_release_in_groups_is_staggered_as_a_whole_and_passes_no_deadline",),
    ),
    Mutant(
        file="store/lua/forget.lua",
        old="if record and recipients == before then",
        new="if record then",
        rule="What changed between the look and the erasure is left alone.",
        tests=(f"{LISTS}::test_what_changed_between_the_look_and_the_erasure_is_looked_at_anew",),
    ),
    Mutant(
        file="store/lua/forget.lua",
        old="left[n] = record.rs[place]",
        new="left[n] = record.rs[n]",
        rule="The hashes of several recipients stay in step with them.",
        tests=(
            "tests/security/test_forget.py::test_forgetting_one_of_several_leaves_the_retry_to_the_others",
        ),
    ),
    Mutant(
        file="store/erasure.py",
        old="_ROUNDS = 5",
        new="_ROUNDS = 1",
        rule="What changed between the look and the erasure is looked at anew.",
        tests=(f"{LISTS}::test_what_changed_between_the_look_and_the_erasure_is_looked_at_anew",),
    ),
    # alarms
    Mutant(
        file="worker/handover.py",
        old="self._seen = self._noted[1] if self._noted else None",
        new="self._seen = claimed.number",
        rule="Claims younger than what a failover may lose raise no alarm.",
        tests=(f"{PUMP}::test_claims_younger_than_what_a_failover_may_lose_raise_no_alarm",),
    ),
    Mutant(
        file="worker/handover.py",
        old="MEMORY = 10.0",
        new="MEMORY = 0.01",
        rule="A failover may lose ten seconds of claims.",
        tests=(f"{PUMP}::test_claims_younger_than_what_a_failover_may_lose_raise_no_alarm",),
    ),
    Mutant(
        file="store/lua/claim.lua",
        old="options.seen and number <= options.seen then",
        new="options.seen and number < options.seen then",
        rule="A store that lacks a claim from before its last ten seconds is an older state.",
        tests=(f"{PUMP}::test_claims_younger_than_what_a_failover_may_lose_raise_no_alarm",),
    ),
    Mutant(
        file="core/replan.py",
        old="last = min(delivery.attempt + len(dues) - done - 1, limits.max_attempts)",
        new="last = delivery.attempt + len(dues) - done - 1",
        rule="A new plan allows no more tries than limits.max_attempts.",
        tests=("tests/contract/test_replan.py::test_a_retry_gets_no_more_tries_than_all_rules_allow",),
    ),
)
