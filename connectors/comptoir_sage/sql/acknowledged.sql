-- Sales documents of Sage 100 that carry the number of a web order, whatever they have become since (order, delivery
-- note, invoice): Sage has taken the order. Layout rule: docs/reading-sql.md.
SELECT
    'acknowledged 1' AS "Comptoir",
    d.DO_NoWeb AS "DO_NoWeb",
    MIN(d.DO_Piece) AS "DO_Piece",
    MIN(d.DO_Type) AS "DO_Type"
FROM F_DOCENTETE d
WHERE d.DO_Domaine = 0 AND d.DO_Type BETWEEN 1 AND 7 AND d.DO_NoWeb > ''
GROUP BY d.DO_NoWeb
