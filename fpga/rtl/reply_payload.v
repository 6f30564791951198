// SPDX-License-Identifier: Apache-2.0
//
// The payload of a reply, a byte at a time: its status code, and what the command asked for. A byte
// is taken from wherever it is in several steps, since it takes long to send.
// fpga/README.md has the protocol.

`default_nettype none

module reply_payload #(
    parameter CLASSES        = 10,  // at most 8,000
    parameter LAYERS         = 1,   // with weights
    parameter IDENTITY_BYTES = 66,
    parameter LENGTH_WIDTH   = 7    // bits of the length of any reply
) (
    input  wire                    clk,
    input  wire [3:0]              code,
    input  wire                    identify,  // the command
    input  wire                    classify,
    input  wire                    repeating,
    input  wire                    status,
    output reg  [LENGTH_WIDTH-1:0] length,
    input  wire [LENGTH_WIDTH-1:0] index,     // of the byte that is wanted
    output reg  [7:0]              data,
    input  wire                    taken,
    // What it may hold.
    input  wire [7:0]              identity,  // the byte that `index` names
    input  wire [32*LAYERS-1:0]    signature,
    input  wire [15:0]             class_index,
    input  wire [31:0]             cycles,
    input  wire [15:0]             differing,
    input  wire [31:0]             logit,
    output reg                     logit_taken,
    input  wire [15:0]             frames,
    input  wire [15:0]             errors,
    input  wire [3:0]              last_error,
    input  wire                    stored,
    input  wire                    tested
);

    localparam [3:0] OK = 0;

    localparam SIGNATURE_BYTES = 4 * LAYERS;
    localparam SIGNATURE_FIRST = 1 + IDENTITY_BYTES;
    localparam SIGNATURE_WIDTH = $clog2(SIGNATURE_BYTES);

    // Status code included.
    localparam IDENTIFY_LENGTH = SIGNATURE_FIRST + SIGNATURE_BYTES;
    localparam CLASSIFY_LENGTH = 7 + 4 * CLASSES;
    localparam REPEAT_LENGTH   = 9;
    localparam STATUS_LENGTH   = 7;
    localparam ERROR_LENGTH    = 1;

    reg  [15:0]                half_reg;
    reg  [31:0]                word_reg;
    reg  [7:0]                 signature_byte_reg;
    wire [SIGNATURE_WIDTH-1:0] signature_index = index[SIGNATURE_WIDTH-1:0]
                                                 - SIGNATURE_FIRST[SIGNATURE_WIDTH-1:0];
    // Words begin at an index of 3, 7, 11, ...
    wire [1:0]                 word_byte       = index[1:0] + 1'b1;

    always @(posedge clk) begin
        half_reg <= status ? frames : class_index;
        if (status)
            word_reg <= {6'd0, tested, stored, 4'd0, last_error, errors};
        else if (index < 7)
            word_reg <= cycles;
        else if (repeating)
            word_reg <= {16'd0, differing};
        else
            word_reg <= logit;
        signature_byte_reg <= signature[8*signature_index +: 8];

        data <= word_reg[8*word_byte +: 8];
        if (index == 1)
            data <= half_reg[7:0];
        if (index == 2)
            data <= half_reg[15:8];
        if (identify)
            data <= (index < SIGNATURE_FIRST[LENGTH_WIDTH-1:0]) ? identity : signature_byte_reg;
        if (index == 0)
            data <= {4'd0, code};

        // The last byte of each logit has an index of 10, 14, 18, ...
        logit_taken <= taken && index[LENGTH_WIDTH-1:3] != 0 && index[1:0] == 2;
        length      <= (code != OK) ? ERROR_LENGTH[LENGTH_WIDTH-1:0]
                       : identify   ? IDENTIFY_LENGTH[LENGTH_WIDTH-1:0]
                       : classify   ? CLASSIFY_LENGTH[LENGTH_WIDTH-1:0]
                       : repeating  ? REPEAT_LENGTH[LENGTH_WIDTH-1:0]
                                    : STATUS_LENGTH[LENGTH_WIDTH-1:0];
    end

endmodule

`default_nettype wire
