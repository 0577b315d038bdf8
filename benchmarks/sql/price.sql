-- The only price that a feature has.
SELECT p.id FROM ledger_featureprice p JOIN ledger_feature f ON f.id = p.feature_id WHERE f.code = '{feature}'
