-- name: list_for
SELECT * FROM tenant_rules WHERE trainer = $trainer ORDER BY tenant_id, rule;

-- name: remove
DELETE FROM tenant_rules WHERE trainer = $trainer AND tenant_id = $tenant_id AND rule = $rule;

-- name: forget
DELETE FROM tenant_rules WHERE trainer = $trainer;

-- name: update
UPDATE tenant_rules SET
    rollout_id = $rollout_id, reason = $reason, actor = $actor, "at" = $at
WHERE trainer = $trainer AND tenant_id = $tenant_id AND rule = $rule;

-- name: insert
INSERT INTO tenant_rules (
    trainer, tenant_id, rule, rollout_id, reason, actor, "at"
) VALUES (
    $trainer, $tenant_id, $rule, $rollout_id, $reason, $actor, $at
);

-- name: tenants
SELECT DISTINCT tenant_id FROM tenant_rules ORDER BY tenant_id;
