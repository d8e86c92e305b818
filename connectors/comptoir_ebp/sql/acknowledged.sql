-- Sales documents of EBP that were imported: their reference names the number that was given (gescom-interfaces §2.3).
-- Layout rule: docs/reading-sql.md.
SELECT
    'acknowledged 1' AS "Comptoir",
    d.DocumentNumber AS "DocumentNumber",
    d.Reference AS "Reference"
FROM SaleDocument d
WHERE d.Reference LIKE 'Document import%'
