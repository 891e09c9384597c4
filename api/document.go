package api

import (
	"context"
	_ "embed"
	"encoding/json/v2"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// keyRule says whether a route takes an idempotency key.
type keyRule string

const (
	keyNone     keyRule = "none"
	keyOptional keyRule = "optional"
	keyRequired keyRule = "required"
)

// route is what the document says of one method of one path.
type route struct {
	method   string
	path     string // the document's, such as /v1/tokens/{tokenId}
	template string // gin's, such as /v1/tokens/:tokenId
	id       string // operationId

	// permissions that are each enough; none for the one route without a key.
	permissions []registry.Permission
	key         keyRule
	// operation is what a privileged route asks for; empty elsewhere.
	operation policy.OperationType
	// params of query and path, without the headers.
	params []*openapi3.Parameter
	// body is the schema of the body; nil if the route takes none.
	body         *openapi3.Schema
	bodyRequired bool
}

// writes tells whether the route changes something, or may: nothing but GET is
// answered while the seal is sealed, save unsealing.
func (r *route) writes() bool { return r.method != http.MethodGet }

// long tells whether the route reads a whole log: it takes its time, and a place
// that others do not need.
func (r *route) long() bool { return r.id == "verifyAudit" || r.id == "exportTransactions" }

// stopping are the routes by which people stop what goes wrong, or let it go on
// again: a flood of other writes must not be in their way.
var stopping = []string{
	routeSeal, routeUnseal, "freeze", "rejectTokenOperation", "rejectTransaction", "cancelTokenOperation", "cancelTransaction",
	"revokeCredential", "updateUser",
}

// finishing are the other writes that a store near its quota takes: what lets something that was begun end,
// or takes something back that was given. The rest adds what the store has no room for.
var finishing = []string{
	"approveTokenOperation", "approveTransaction", "signTokenOperationRequest", "signTokenBinding", "signPolicy", "signCharter",
	"revokeTokenRole", "pauseToken", "freezeTokenAccount", "removeTokenAllowlist", "retireToken", "cancelWalletNonce",
	"rotateCredential", "deleteWebhook", "withdrawPolicy", "proposeCharter",
}

// asking are the writes by their method that store nothing, not even an answer for their key: whoever may read may
// ask, as often as he likes.
var asking = []string{"simulatePolicy", "estimateTokenDeployment"}

// lasting are the writes whose resource stays in the store for good: nobody deletes it, and no archive takes it.
var lasting = []string{
	"createToken", "importToken", "createVaultAccount", "createPolicy", "proposePolicyVersion", "createUser", "createCredential",
	"rotateCredential", "proposeCharter", "signCharter", "signPolicy", "signTokenBinding",
}

// Reads that are large, and reads that may wait for the seal.
var (
	ledgerReads  = []string{"getLedger", "getLedgerSnapshot"}
	receiptReads = []string{"getAuditReceipt", "getTokenOperationReceipt"}
)

// stops tells whether the route is one of those.
func (r *route) stops() bool { return slices.Contains(stopping, r.id) }

// stores tells whether the route is a write that leaves something in the store.
func (r *route) stores() bool { return r.writes() && !slices.Contains(asking, r.id) }

// adds tells whether the route is a write that a store near its quota has no room for.
func (r *route) adds() bool { return r.stores() && !r.stops() && !slices.Contains(finishing, r.id) }

// lasts tells whether what the route makes stays in the store for good.
func (r *route) lasts() bool { return slices.Contains(lasting, r.id) }

// The routes of the door itself: they need the seal's custodians, not its
// ledger, so a ledger that does not verify stops neither.
const (
	routeUnseal = "unsealSeal"
	routeSeal   = "sealSeal"
)

// whileSealed tells whether the route is the one write that a sealed appliance
// takes.
func (r *route) whileSealed() bool { return r.id == routeUnseal }

// stopsOrUnseals tells whether the route seals or unseals.
func (r *route) stopsOrUnseals() bool { return r.id == routeUnseal || r.id == routeSeal }

// token tells whether the route is a token call, whose bad amounts and
// addresses have codes of their own.
func (r *route) token() bool { return strings.HasPrefix(r.path, "/v1/tokens") }

//go:embed openapi.yaml
var openapiYAML []byte

// document is the API's document and what follows from it.
type document struct {
	json   []byte            // as /v1/openapi.json answers it
	routes map[string]*route // by method and gin's template
}

// OpenAPI is the API's document, read and validated.
func OpenAPI() (*openapi3.T, error) {
	spec, err := openapi3.NewLoader().LoadFromData(openapiYAML)
	if err != nil {
		return nil, fmt.Errorf("api: the document: %w", err)
	}
	if err := spec.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("api: the document: %w", err)
	}
	return spec, nil
}

// readDocument is the document that is built in, read once: nobody changes it.
// An error is a fault of the build.
var readDocument = sync.OnceValues(newDocument)

func newDocument() (*document, error) {
	spec, err := OpenAPI()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(spec, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("api: the document: %w", err)
	}
	d := &document{json: raw, routes: map[string]*route{}}
	known := map[string]bool{}
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			r, err := readRoute(method, path, op)
			if err != nil {
				return nil, fmt.Errorf("api: the document: %s %s: %w", method, path, err)
			}
			d.routes[method+" "+r.template], known[r.id] = r, true
		}
	}
	for _, id := range slices.Concat(stopping, finishing, asking, lasting, ledgerReads, receiptReads) {
		if !known[id] {
			return nil, fmt.Errorf("api: the document has no %s, for which places are kept", id)
		}
	}
	return d, nil
}

func readRoute(method, path string, op *openapi3.Operation) (*route, error) {
	r := &route{
		method: method, path: path, id: op.OperationID, key: keyNone,
		template: strings.NewReplacer("{", ":", "}", "").Replace(path),
	}
	switch p := op.Extensions["x-permission"].(type) {
	case string:
		if p != "none" {
			r.permissions = []registry.Permission{registry.Permission(p)}
		}
	case []any:
		for _, one := range p {
			name, _ := one.(string)
			r.permissions = append(r.permissions, registry.Permission(name))
		}
	default:
		return nil, fmt.Errorf("x-permission is %v", p)
	}
	for _, p := range r.permissions {
		if !p.Valid() {
			return nil, fmt.Errorf("there is no permission %q", p)
		}
	}
	if k, ok := op.Extensions["x-idempotency"].(string); ok {
		r.key = keyRule(k)
	}
	if !slices.Contains([]keyRule{keyNone, keyOptional, keyRequired}, r.key) {
		return nil, fmt.Errorf("x-idempotency is %q", r.key)
	}
	if t, ok := op.Extensions["x-operation-type"].(string); ok {
		r.operation = policy.OperationType(t)
		if !r.operation.Valid() {
			return nil, fmt.Errorf("x-operation-type is %q", t)
		}
	}
	for _, p := range op.Parameters {
		if p.Value.In != openapi3.ParameterInHeader {
			r.params = append(r.params, p.Value)
		}
	}
	if op.RequestBody != nil {
		content := op.RequestBody.Value.Content[contentType]
		if content == nil {
			return nil, fmt.Errorf("the body is not %s", contentType)
		}
		r.body, r.bodyRequired = content.Schema.Value, op.RequestBody.Value.Required
	}
	return r, nil
}
