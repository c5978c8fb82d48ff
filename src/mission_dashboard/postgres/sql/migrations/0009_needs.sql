-- Serves the list of missions that a budget stopped: few among all that were cancelled.
CREATE INDEX missions_over_budget ON missions (created_at DESC, id DESC) WHERE budget_state = 'exceeded';
