-- verdict: the gates in their order; the first that does not let a retry pass says what becomes of it.
-- needs: over_gate suppression_gate recipients_gate deadline_gate crash_loop_gate incident_gate pause_gate cap_gate provider_gate
-- gives: GATES
local GATES = { -- those that end it, then those that let it wait
  over_gate, suppression_gate, recipients_gate, deadline_gate, crash_loop_gate, incident_gate, pause_gate, cap_gate, provider_gate,
}
