-- Tables of Sage 100, as far as the queries of comptoir_sage/sql read them, for the tests' PostgreSQL. Names, types and
-- lengths: gescom-interfaces section 1.2 of the specifications, and definitions of these tables in public repositories
-- (column names of F_ARTCLIENT, F_ARTCOMPTA, F_FAMCOMPTA, F_ARTENUMREF, F_ARTGAMME, F_GAMSTOCK, P_UNITE). Rows: made up.
create domain datetime2 as timestamp;
create table F_ARTICLE (
    AR_Ref varchar(19) not null, AR_Design varchar(69), FA_CodeFamille varchar(11), AR_CodeBarre varchar(19),
    AR_PrixAch numeric(24,6), AR_PrixVen numeric(24,6), AR_PrixTTC smallint, AR_Coef numeric(24,6), AR_UniteVen smallint,
    AR_PoidsNet numeric(24,6), AR_PoidsBrut numeric(24,6), AR_UnitePoids smallint, AR_SuiviStock smallint,
    AR_Sommeil smallint, AR_Publie smallint, AR_Gamme1 smallint, AR_Gamme2 smallint, AR_Pays varchar(35),
    cbMarq serial primary key, cbModification timestamp);
create table F_DEPOT (DE_No integer primary key, DE_Intitule varchar(35), cbModification timestamp);
create table F_ARTSTOCK (
    AR_Ref varchar(19), DE_No integer, AS_QteMini numeric(24,6), AS_QteMaxi numeric(24,6), AS_MontSto numeric(24,6),
    AS_QteSto numeric(24,6), AS_QteRes numeric(24,6), AS_QteCom numeric(24,6), AS_QtePrepa numeric(24,6),
    cbMarq serial, cbModification timestamp, primary key (AR_Ref, DE_No));
create table F_GAMSTOCK (
    AR_Ref varchar(19), AG_No1 integer, AG_No2 integer, DE_No integer, GS_MontSto numeric(24,6), GS_QteSto numeric(24,6),
    GS_QteRes numeric(24,6), GS_QteCom numeric(24,6), GS_QtePrepa numeric(24,6), cbMarq serial, cbModification timestamp);
create table F_ARTGAMME (
    AR_Ref varchar(19), AG_No integer, EG_Enumere varchar(21), AG_Type smallint, cbMarq serial, cbModification timestamp);
create table F_ARTENUMREF (
    AR_Ref varchar(19), AG_No1 integer, AG_No2 integer, AE_Ref varchar(19), AE_PrixAch numeric(24,6),
    AE_CodeBarre varchar(19), AE_Sommeil smallint, cbMarq serial, cbModification timestamp);
create table F_ARTCLIENT (
    AR_Ref varchar(19), AC_Categorie smallint, AC_PrixVen numeric(24,6), AC_Coef numeric(24,6), AC_PrixTTC smallint,
    AC_PrixDev numeric(24,6), AC_Devise smallint, CT_Num varchar(17), AC_Remise numeric(24,6), cbMarq serial,
    cbModification timestamp);
create table F_ARTCOMPTA (
    AR_Ref varchar(19), ACP_Type smallint, ACP_Champ smallint, ACP_ComptaCPT_CompteG varchar(13),
    ACP_ComptaCPT_Taxe1 varchar(5), cbMarq serial, cbModification timestamp);
create table F_FAMCOMPTA (
    FA_CodeFamille varchar(11), FCP_Type smallint, FCP_Champ smallint, FCP_ComptaCPT_CompteG varchar(13),
    FCP_ComptaCPT_Taxe1 varchar(5), cbMarq serial, cbModification timestamp);
create table F_TAXE (TA_Code varchar(5), TA_Intitule varchar(35), TA_TTaux smallint, TA_Taux numeric(24,6), TA_Type smallint);
create table P_UNITE (cbIndice smallint, U_Intitule varchar(21));
create table F_COMPTET (
    CT_Num varchar(17), CT_Intitule varchar(69), CT_Type smallint, CT_Qualite varchar(17), CT_Contact varchar(35), CT_Adresse varchar(35),
    CT_Complement varchar(35), CT_CodePostal varchar(9), CT_Ville varchar(35), CT_CodeRegion varchar(25),
    CT_Pays varchar(35), CT_Telephone varchar(21), CT_EMail varchar(69), CT_Siret varchar(15), CT_Identifiant varchar(25),
    CT_Ape varchar(7), N_CatTarif smallint, N_CatCompta smallint, CT_Sommeil smallint, CT_Prospect smallint,
    cbMarq serial, cbModification timestamp);
create table F_DOCENTETE (
    DO_Domaine smallint, DO_Type smallint, DO_Piece varchar(13), DO_Date timestamp, DO_Ref varchar(17), DO_Tiers varchar(17),
    DO_NoWeb varchar(17), DO_DateLivr timestamp, cbMarq serial, cbModification timestamp);
insert into F_DEPOT values (1, 'Dépôt principal', '2026-01-02'), (2, 'Entrepôt Besançon', '2026-01-02');
insert into P_UNITE values (1, 'Pièce'), (2, 'Kg'), (3, 'Mètre');
insert into F_TAXE values ('C20', 'TVA collectée 20 %', 0, 20, 0), ('C55', 'TVA collectée 5,5 %', 0, 5.5, 0),
    ('D20', 'TVA déductible', 0, 20, 1), ('ECO', 'Éco-participation', 1, 0.5, 0);
insert into F_FAMCOMPTA (FA_CodeFamille, FCP_Type, FCP_Champ, FCP_ComptaCPT_Taxe1, cbModification) values
    ('MAISON', 0, 1, 'C20', '2026-01-02'), ('MAISON', 0, 2, 'C55', '2026-01-02'), ('MAISON', 1, 1, 'D20', '2026-01-02'),
    ('EPICERIE', 0, 1, 'C20', '2026-01-02');
