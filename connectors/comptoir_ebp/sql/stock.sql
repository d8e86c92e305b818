-- Stock of EBP Gestion Commerciale: a row for each item and storehouse. Layout rule: docs/reading-sql.md.
SELECT
    'stock 1' AS "Comptoir",
    s.ItemId AS "ItemId",
    CAST(s.StorehouseId AS varchar(36)) AS "StorehouseId",
    h.Caption AS "Storehouse",
    CAST(CAST(COALESCE(s.RealStock, 0) AS numeric(24, 6)) AS varchar(40)) AS "RealStock",
    CAST(CAST(s.VirtualStock AS numeric(24, 6)) AS varchar(40)) AS "VirtualStock",
    CAST(CAST(s.BookedQuantity AS numeric(24, 6)) AS varchar(40)) AS "BookedQuantity",
    i.UnitId AS "UnitId"
FROM StockItem s
INNER JOIN Item i ON i.Id = s.ItemId
LEFT JOIN Storehouse h ON h.Id = s.StorehouseId
WHERE i.ManageStock = CAST('1' AS bit)
