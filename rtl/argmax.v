// SPDX-License-Identifier: Apache-2.0
//
// Passes the logits on and says beside each beat which has been the largest so far; beside the
// image's last beat that is the class. The lowest index wins a tie.
//
// Latency: 1 clock. Equals model.reference.argmax.

`default_nettype none

module argmax #(
    parameter CLASSES = 10,  // logits an image, at most 65,536
    parameter LANES   = 1,   // logits a beat; those of the last beat beyond CLASSES do not count
    parameter WIDTH   = 32   // bits of a logit
) (
    input  wire                   clk,
    input  wire                   rst,
    input  wire [WIDTH*LANES-1:0] s_axis_tdata,
    input  wire                   s_axis_tlast,
    input  wire                   s_axis_tvalid,
    output wire                   s_axis_tready,
    output wire [WIDTH*LANES-1:0] m_axis_tdata,
    output wire [15:0]            m_axis_tuser,  // index of the largest logit so far
    output wire                   m_axis_tlast,
    output wire                   m_axis_tvalid,
    input  wire                   m_axis_tready
);

    localparam [31:0] COUNT = CLASSES;

    reg [WIDTH*LANES-1:0]  data_reg;
    reg                    last_reg, valid_reg;
    reg                    started_reg;           // best and next are of this image
    reg signed [WIDTH-1:0] best_reg, best, logit;
    reg [15:0]             best_index_reg, best_index;
    reg [31:0]             next_reg, index;       // of this beat's first logit
    reg                    found;

    assign s_axis_tready = !valid_reg || m_axis_tready;
    assign m_axis_tdata  = data_reg;
    assign m_axis_tuser  = best_index_reg;
    assign m_axis_tlast  = last_reg;
    assign m_axis_tvalid = valid_reg;

    integer lane;
    always @* begin
        best       = best_reg;
        best_index = best_index_reg;
        found      = started_reg;
        index      = started_reg ? next_reg : 32'd0;
        logit      = s_axis_tdata[WIDTH-1:0];
        for (lane = 0; lane < LANES; lane = lane + 1) begin
            logit = s_axis_tdata[WIDTH*lane +: WIDTH];
            if (index < COUNT && (!found || logit > best)) begin
                best       = logit;
                best_index = index[15:0];
                found      = 1'b1;
            end
            index = index + 1'b1;
        end
    end

    always @(posedge clk) begin
        if (s_axis_tready) begin
            valid_reg <= s_axis_tvalid;
            data_reg  <= s_axis_tdata;
            last_reg  <= s_axis_tlast;
            if (s_axis_tvalid) begin
                started_reg    <= !s_axis_tlast;
                best_reg       <= best;
                best_index_reg <= best_index;
                next_reg       <= index;
            end
        end
        if (rst) begin
            valid_reg   <= 1'b0;
            started_reg <= 1'b0;
        end
    end

endmodule

`default_nettype wire
