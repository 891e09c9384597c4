package api

import (
	"encoding/csv"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/policy"
)

// ExportTransactions answers GET /v1/transactions/export. It is written as it is read, so that neither side
// holds it whole. An error that comes when something was sent already breaks the connection: what is cut off
// must not look whole.
func (s *Server) ExportTransactions(c *gin.Context, params ExportTransactionsParams) {
	ops := s.operations.All(c.Request.Context(), operation.Filter{
		TokenID: of(params.TokenID), Type: policy.OperationType(of(params.OperationType)), Status: operation.Status(of(params.Status)),
		RequestedBy: of(params.RequestedBy), Network: of(params.Network), WalletID: of(params.WalletID), From: of(params.From), To: of(params.To),
	})
	next, stop := iter.Pull2(ops)
	defer stop()
	first, err, any := next()
	if any && err != nil {
		s.refuse(c, err)
		return
	}
	var sheet sheet
	name, media := "transactions.csv", "text/csv; charset=utf-8"
	if of(params.Format) == ExportTransactionsParamsFormatJSON {
		name, media = "transactions.json", contentType
		sheet = newJSONSheet(c.Writer)
	} else {
		sheet = newCSVSheet(c.Writer)
	}
	c.Header("Content-Type", media)
	c.Header("Content-Disposition", `attachment; filename="`+name+`"`)
	c.Status(http.StatusOK)
	for o := first; any; o, err, any = next() {
		if err == nil {
			err = sheet.add(transactionSummaryForm(o))
		}
		if err != nil {
			s.log.Warn("api: an export broke off", "request_id", requestOf(c).id, "error", err)
			panic(http.ErrAbortHandler)
		}
	}
	if err := sheet.end(); err != nil {
		panic(http.ErrAbortHandler) // the caller is gone
	}
}

// sheet takes transactions one at a time.
type sheet interface {
	add(TransactionSummary) error
	// end writes what makes the sheet whole.
	end() error
}

// jsonSheet is one array.
type jsonSheet struct{ e *jsontext.Encoder }

func newJSONSheet(w io.Writer) sheet {
	e := jsontext.NewEncoder(w)
	return &beginning{sheet: &jsonSheet{e}, begin: func() error { return e.WriteToken(jsontext.BeginArray) }}
}

func (j *jsonSheet) add(t TransactionSummary) error { return json.MarshalEncode(j.e, t) }
func (j *jsonSheet) end() error                     { return j.e.WriteToken(jsontext.EndArray) }

// csvSheet is RFC 4180, with a header line.
type csvSheet struct{ w *csv.Writer }

func newCSVSheet(w io.Writer) sheet {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	return &beginning{sheet: &csvSheet{c}, begin: func() error { return c.Write(csvColumns) }}
}

// csvColumns are TransactionSummary's fields, in the order of its form.
var csvColumns = []string{
	"id", "operationId", "operationType", "tokenId", "network", "walletId", "walletAddress", "status", "nonce", "transactionHash", "blockNumber",
	"confirmations", "feeCap", "feeStrategy", "amount", "requestedBy", "attention", "failureReason", "createdAt", "updatedAt",
}

func (s *csvSheet) add(t TransactionSummary) error {
	block := ""
	if t.BlockNumber != nil {
		block = strconv.FormatInt(*t.BlockNumber, 10)
	}
	return s.w.Write([]string{
		t.ID, t.OperationID, string(t.OperationType), of(t.TokenID), t.Network, t.WalletID, t.WalletAddress, string(t.Status), of(t.Nonce),
		of(t.TransactionHash), block, fmt.Sprint(t.Confirmations), t.FeeCap, string(t.FeeStrategy), of(t.Amount), cell(t.RequestedBy),
		cell(of(t.Attention)), cell(of(t.FailureReason)), t.CreatedAt.Format(time.RFC3339), t.UpdatedAt.Format(time.RFC3339),
	})
}

// cell is text that others had a hand in, such as a node that says why something reverted: a spreadsheet takes what
// begins so for a formula, and runs it.
func cell(text string) string {
	if first, _ := utf8.DecodeRuneInString(text); text != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + text
	}
	return text
}

func (s *csvSheet) end() error {
	s.w.Flush()
	return s.w.Error()
}

// beginning writes what a sheet starts with before the first of it, or its end.
type beginning struct {
	sheet
	begin func() error
	begun bool
}

func (b *beginning) once() error {
	if b.begun {
		return nil
	}
	b.begun = true
	return b.begin()
}

func (b *beginning) add(t TransactionSummary) error {
	if err := b.once(); err != nil {
		return err
	}
	return b.sheet.add(t)
}

func (b *beginning) end() error {
	if err := b.once(); err != nil {
		return err
	}
	return b.sheet.end()
}
