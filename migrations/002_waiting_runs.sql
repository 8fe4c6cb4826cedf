-- A template's runs that wait: what pausing, deleting or rescheduling it has to find among all of its history.
CREATE INDEX jobs_waiting_of_a_template ON jobs (merchant_id, template_id)
    WHERE template_id IS NOT NULL AND next_run_at IS NOT NULL;
